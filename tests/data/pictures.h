// Helpers of the data tests: pictures to look at, files to read them from, a folder that goes away.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "data/decode.h"
#include "data/picture.h"
#include "engine/require.h"
#include "engine/tensor.h"

namespace tessera::test {

// A fresh folder under the system's temporary one, removed with all it holds.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  std::string path(const std::string& name = "") const { return dir_ + "/" + name; }
  // Writes a file, making the folders above it; returns its path.
  std::string write(const std::string& name, const std::string& bytes) const;

 private:
  std::string dir_;
};

// Waves and noise: no two pixels alike, neither flat nor pure noise.
Picture test_picture(int height, int width, int channels, uint64_t seed);

struct JpegOptions {
  int quality = 90;
  int h = 2, v = 2;  // sampling of luma against colour
  bool progressive = false;
  int restart_rows = 0;
  int restart_units = 0;  // of the scan, between restart markers
  bool ycck = false;      // 4 channels: stored as YCCK rather than CMYK
  bool coarse_only =
      false;             // progressive: leaves out the scans that refine, as a file that was never finished
  int repeat_scans = 0;  // progressive: a script of so many scans
};
std::string encode_jpeg(const Picture& picture, const JpegOptions& options = {});

struct PngOptions {
  int bits = 8;  // 16: the low byte of each sample is a different number
  bool interlaced = false;
};
std::string encode_png_as(const Picture& picture, const PngOptions& options);

std::vector<uint8_t> bytes_of(const Picture& picture);
std::vector<uint8_t> bytes_of(const Tensor& tensor);  // u8
Picture picture_of(const Tensor& tensor);             // u8 [H, W, C]
// The part `box` of a picture, by plain loops.
std::vector<uint8_t> cut(const Picture& picture, Box box);

Picture decode(const std::string& file, int channels, const ChooseBox& choose = whole_picture,
               const DecodeLimits& limits = {});

// The text of the Error of kind `kind` that f() must throw; "accepted" when it throws none, the kind's number
// if another.
std::string complaint(ErrorKind kind, const std::function<void()>& f);
bool contains(const std::string& text, const std::string& part);

std::string golden(const std::string& name);  // path of tests/golden/NAME

}  // namespace tessera::test
