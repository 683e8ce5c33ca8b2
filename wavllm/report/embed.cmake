# cmake -DPAGE=FOLDER -DOUT=FILE.cpp -P embed.cmake: page.html with its style and scripts as one C++ string.
file(READ ${PAGE}/page.html page)
file(READ ${PAGE}/style.css style)
set(script "")
foreach(name draw curves examples attention machine configuration)
    file(READ ${PAGE}/${name}.js part)
    string(APPEND script "${part}\n")
endforeach()
# What the page is made of must not be cut by CMake's lists or C++'s raw strings.
string(FIND "${style}${script}${page}" ")page\"" clash)
if(NOT clash EQUAL -1)
    message(FATAL_ERROR "the report's page contains )page\", which ends its C++ string")
endif()
string(REPLACE "/*STYLE*/" "${style}" page "${page}")
string(REPLACE "/*SCRIPT*/" "${script}" page "${page}")
file(WRITE ${OUT}.new "// Made from wavllm/report/page by embed.cmake.
namespace wavllm::detail {
extern const char* const kReportPage;
const char* const kReportPage = R\"page(${page})page\";
}  // namespace wavllm::detail
")
file(COPY_FILE ${OUT}.new ${OUT} ONLY_IF_DIFFERENT)
