# cmake -DSOURCE=FOLDER -DOUT=FILE.cpp -P commit.cmake: the commit that is built, looked up at every build.
execute_process(COMMAND git -C ${SOURCE} rev-parse --short=12 HEAD OUTPUT_VARIABLE commit ERROR_QUIET
    OUTPUT_STRIP_TRAILING_WHITESPACE)
if(commit)
    execute_process(COMMAND git -C ${SOURCE} status --porcelain --untracked-files=no OUTPUT_VARIABLE changes ERROR_QUIET)
    if(NOT changes STREQUAL "")
        string(APPEND commit " with changes")
    endif()
endif()
file(WRITE ${OUT}.new "namespace wavllm::detail {
extern const char* const kCommit;
const char* const kCommit = \"${commit}\";
}  // namespace wavllm::detail
")
file(COPY_FILE ${OUT}.new ${OUT} ONLY_IF_DIFFERENT)
