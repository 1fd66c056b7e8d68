// The one command of the program knn.
#pragma once

#include <vector>

#include "recipes/trainer/cli.h"

namespace tessera {

std::vector<Command> knn_commands();

}  // namespace tessera
