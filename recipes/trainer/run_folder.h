// The folder of a run (--out DIR): config.resolved.yaml, env.json, log.jsonl, events.out.tfevents.*,
// checkpoints/, vis/, bad_samples.jsonl, trace.json.
#pragma once

#include <string>

#include "recipes/trainer/disk.h"

namespace tessera {

// What to do with a folder that is not empty.
enum class Existing { refuse, resume, overwrite };

// Creates `path` with config.resolved.yaml (`config`) and env.json. overwrite removes what an earlier run
// wrote there, and nothing else. resume warns when the configuration differs from the earlier one.
// Throws Error(config) for a folder that is not empty under `refuse`, Error(io) when it cannot be written.
void open_run_folder(const std::string& path, Existing existing, const std::string& config,
                     Disk& disk = real_disk());

}  // namespace tessera
