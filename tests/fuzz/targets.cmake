# Fuzz targets: one binary per tests/fuzz/*.cpp, with the sources that the parsers need and no others. Left
# out are the matrix multiply, which clang 14 does not compile, and whatever trains.
add_compile_options(-Wno-unknown-warning-option -Wno-unknown-pragmas -O1 -fno-omit-frame-pointer
  -fsanitize=fuzzer-no-link,address,undefined,float-cast-overflow -fno-sanitize-recover=all)
option(TESSERA_COVERAGE "count the lines that inputs reach (tools/fuzz --coverage)" OFF)
if(TESSERA_COVERAGE)
  add_compile_options(-fprofile-instr-generate -fcoverage-mapping)
  add_link_options(-fprofile-instr-generate)
endif()

file(GLOB parser_sources CONFIGURE_DEPENDS engine/*.cpp data/*.cpp)
list(FILTER parser_sources EXCLUDE REGEX "/engine/gemm")
foreach(name config disk manifest strict_yaml)
  list(APPEND parser_sources recipes/trainer/${name}.cpp)
endforeach()
add_library(parsers STATIC ${parser_sources})
target_link_libraries(parsers PUBLIC OpenMP::OpenMP_CXX Threads::Threads fmt::fmt yaml-cpp
  nlohmann_json::nlohmann_json JPEG::JPEG PNG::PNG ZLIB::ZLIB ${XXHASH_LIBRARY})

file(GLOB targets CONFIGURE_DEPENDS tests/fuzz/*.cpp)
foreach(target ${targets})
  get_filename_component(name ${target} NAME_WE)
  add_executable(fuzz_${name} ${target})
  target_link_libraries(fuzz_${name} PRIVATE parsers)
  target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer,address,undefined,float-cast-overflow)
endforeach()
