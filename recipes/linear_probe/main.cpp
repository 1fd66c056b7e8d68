// linear_probe: a linear classifier on frozen features (spec evaluation.md section 6).
#include "recipes/linear_probe/command.h"

int main(int argc, char** argv) {
  return tessera::run_main(argc, argv, "linear_probe", tessera::linear_probe_commands());
}
