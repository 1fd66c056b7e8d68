// The commands of the program mae: pretrain and visualize.
#pragma once

#include <vector>

#include "recipes/trainer/cli.h"

namespace tessera {

std::vector<Command> mae_commands();

}  // namespace tessera
