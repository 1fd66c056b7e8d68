// The build's facts come from CMake (commit, flags) and from the compiler's own macros (instruction set).
#include "recipes/trainer/version.h"

#include <fstream>

#include "engine/check.h"

namespace tessera {

const char* code_version() { return TESSERA_COMMIT[0] ? TESSERA_COMMIT : "unknown"; }
const char* build_flags() { return TESSERA_FLAGS; }

std::string instruction_set() {
#ifdef TESSERA_PLAIN_SIMD
  return "plain C++ (portable half of engine/simd.h)";
#elif defined(__AVX512F__)
  std::string s = "AVX-512 (F";
#ifdef __AVX512BW__
  s += " BW";
#endif
#ifdef __AVX512DQ__
  s += " DQ";
#endif
#ifdef __AVX512VL__
  s += " VL";
#endif
#ifdef __AVX512VNNI__
  s += " VNNI";
#endif
#ifdef __AVX512BF16__
  s += " BF16";
#endif
#ifdef __AVX512FP16__
  s += " FP16";
#endif
#ifdef __AMX_BF16__
  s += ", AMX BF16";
#endif
  return s + ")";
#elif defined(__AVX2__)
  return "AVX2";
#else
  return "baseline x86-64";
#endif
}

std::string cpu_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown";
}

std::string version_text(const std::string& program) {
  return fmt::format("{} (Tessera) commit {}\nbuilt: {}, {}\ncpu:   {}", program, code_version(),
                     build_flags(), instruction_set(), cpu_name());
}

}  // namespace tessera
