// knn: how good frozen features are, by a weighted vote of nearest neighbours (spec evaluation.md section 8).
#include "recipes/knn/command.h"

int main(int argc, char** argv) { return tessera::run_main(argc, argv, "knn", tessera::knn_commands()); }
