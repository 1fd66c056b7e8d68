// The folder of a run (--out DIR): config.resolved.yaml, env.json, log.jsonl, events.out.tfevents.*,
// checkpoints/, vis/, bad_samples.jsonl, trace.json.
#pragma once

#include <string>

#include "recipes/trainer/disk.h"

namespace tessera {

// What to do with a folder that is not empty.
enum class Existing { refuse, resume, overwrite };

// Creates `path` with config.resolved.yaml (`config`) and env.json. overwrite removes what an earlier run
// wrote there, and nothing else. resume compares `config` with the earlier one, key by key: what cannot
// change the weights is accepted with a line that names it. Throws Error(config) for a folder that is not
// empty under `refuse`, or not a run's, and for a resume that changes anything else, naming each key, both
// values and the remedy; Error(io) when the configuration cannot be written (a missing env.json is a
// warning).
void open_run_folder(const std::string& path, Existing existing, const std::string& config,
                     Disk& disk = real_disk());
// Refuses the same, and writes nothing: for before the costly part of a start.
void check_run_folder(const std::string& path, Existing existing, const std::string& config);

}  // namespace tessera
