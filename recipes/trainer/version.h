// Which build this is: commit, flags, instruction set.
#pragma once

#include <string>

namespace tessera {

const char* code_version();  // the commit, "unknown" outside a git checkout
const char* build_flags();
std::string instruction_set();  // what the build was compiled for: "AVX-512 (F BW DQ VL BF16 VNNI)"
std::string cpu_name();         // of this machine, as the system names it
std::string version_text(const std::string& program);  // what --version prints

}  // namespace tessera
