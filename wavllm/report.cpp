// wavllm report: makes the page of a run again from its folder.

#include "wavllm/report/report.h"

#include <cstdio>

#include "wavllm/command.h"

namespace wavllm {

WAVLLM_COMMAND(report, {"report", "make the report of a training run again: one HTML page that needs no network",
                        "wavllm report runs/small-digits", [](cli::App& app) {
                            auto run = std::make_shared<std::string>();
                            app.add_option("RUN", *run, "folder of a run")->required();
                            return [run] {
                                std::printf("%s\n", write_report(*run).c_str());
                                return 0;
                            };
                        }});

}  // namespace wavllm
