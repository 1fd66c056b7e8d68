// Checkpoints: RUN/checkpoints/step-N/{model.safetensors, optimizer.safetensors, manifest.json}; the manifest
// is written last and holds XXH3-128 sums of everything, so a folder either verifies or is not a checkpoint
// (design: reliability rule 2).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "engine/safetensors.h"
#include "recipes/trainer/disk.h"

namespace tessera {

// What a checkpoint says about itself, in its manifest and in the metadata of model.safetensors.
struct CheckpointInfo {
  int64_t step = 0;  // optimiser steps done
  double epoch = 0;  // epochs done, fractional
  uint64_t seed = 0;
  std::string recipe;               // "mae"
  std::string model;                // "vit_b16"
  std::string parts;                // "encoder+decoder"
  std::string target;               // "pixels" or "normalised pixels": how predictions are to be read
  std::vector<double> mean, std;    // of the pictures' normalisation, per channel
  std::vector<int64_t> image_size;  // height, width
  std::string config;               // the whole resolved configuration, YAML
  std::string code;                 // commit that wrote it; filled in by save_checkpoint when empty
  std::map<std::string, std::string> extra;  // a recipe's own; names must not repeat those above
};

struct Checkpoint {
  CheckpointInfo info;
  SafeTensors model;      // official parameter names, f32 masters
  SafeTensors optimizer;  // exp_avg.<name>, exp_avg_sq.<name>
};

// Writes RUN/checkpoints/step-N and then deletes the oldest beyond `keep` (>= 2). Returns the folder.
// A kill or a power cut leaves the earlier generations whole; once this returns, the new one outlasts both.
// A disk that refuses, or has too little room, is tried three times within a second, with a warning for each
// (temporary folders are removed); then throws Error(io). Throws Error(non_finite) naming the tensor when the
// state has NaN or infinity: it then lies in checkpoints/crash-N.
std::string save_checkpoint(const std::string& run, const Checkpoint& content, int keep,
                            Disk& disk = real_disk());

// Removes what a killed save or deletion has left in RUN/checkpoints: temporary folders, and generations
// beyond `keep` up to `step`. For a resumed run. A disk that refuses costs a warning.
void clear_leftovers(const std::string& run, int64_t step, int keep, Disk& disk = real_disk());

// Verifies every byte before returning. Throws Error(checkpoint) naming the file and the tensor.
Checkpoint load_checkpoint(const std::string& step_folder);

// The manifest alone, its own sum verified, without the tensors.
CheckpointInfo read_checkpoint_info(const std::string& step_folder);

struct LatestCheckpoint {
  std::string folder;  // "" when the run has none yet
  Checkpoint content;
};
// The newest checkpoint of a run that verifies. Warns about each newer one that does not. Throws
// Error(checkpoint) when there are checkpoints and none verifies, or the newest is of an unknown format.
LatestCheckpoint load_latest(const std::string& run);

struct Weights {
  std::string path;     // what was read
  CheckpointInfo info;  // as far as the file says; recipe is empty for a foreign file
  SafeTensors model;
};
// Weights alone (--init-from): from a run folder (its latest), a step folder, or a bare .safetensors file.
// Verified and refused as above; a bare file has no sums.
Weights load_weights(const std::string& path);

}  // namespace tessera
