// The one command of the program linear_probe.
#pragma once

#include <vector>

#include "recipes/trainer/cli.h"

namespace tessera {

std::vector<Command> linear_probe_commands();

}  // namespace tessera
