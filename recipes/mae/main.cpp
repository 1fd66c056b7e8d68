// mae: masked-autoencoder pre-training (spec mae.md) and pictures of what it reconstructs.
#include "recipes/mae/commands.h"

int main(int argc, char** argv) { return tessera::run_main(argc, argv, "mae", tessera::mae_commands()); }
