// Parity of position tables (fixtures pos_sincos, pos_interp): what to compute is in the keys.
#include "engine/check.h"
#include "models/position.h"
#include "recipes/parity/key.h"
#include "recipes/trainer/parity.h"

namespace tessera {
namespace {

// "g4": square; "g3x5": rows x columns.
PositionGrid square_or_not(const std::vector<int64_t>& sides) {
  if (sides.empty() || sides.size() > 2) throw UnknownOption("parity: a grid has one side or two");
  return {1, sides.front(), sides.back()};
}

// sincos2d.d16.g4.cls1, sincos3d.d16.g3.t2.cls0
void sincos(ParityFile& file, const std::string& name) {
  const std::vector<std::string> part = split(name, ".");
  const bool video = part[0] == "sincos3d";
  if (part.size() != (video ? 5u : 4u) || (!video && part[0] != "sincos2d"))
    throw UnknownOption("parity: out." + name + " is not known");
  const int64_t dim = number_after(part[1], "d"), cls = number_after(part.back(), "cls");
  PositionGrid grid = square_or_not(numbers_after(part[2], "g"));
  if (video) grid.frames = number_after(part[3], "t");
  const Tensor got({cls + grid.slots(), dim}, DType::f32);
  if (video) {
    sincos_3d(got.data<float>(), dim, grid.frames, grid.rows, grid.cols, cls);
  } else {
    sincos_2d(got.data<float>(), dim, grid.rows, grid.cols, cls);
  }
  file.within("out." + name, got, 0, 0, 1.2e-7);  // one unit in the last place
}

PositionGrid space_time(const std::vector<int64_t>& sides) {
  if (sides.size() < 2 || sides.size() > 3) throw UnknownOption("parity: a grid is TxG or TxHxW");
  return {sides[0], sides[1], sides.back()};
}

// mae_bicubic.4to6.extra1: the rule, the two grids, and slots that stay.
Tensor resized(const std::string& name, const Tensor& table) {
  const std::vector<std::string> part = split(name, ".");
  const std::string& rule = part[0];
  const std::vector<std::string> sides = split(part.size() > 1 ? part[1] : "", "to");
  if (sides.size() != 2 || part.size() > 3) throw UnknownOption("parity: out." + name + " is not known");
  const int64_t extra = part.size() == 3 ? number_after(part[2], "extra") : 0;
  if (rule == "simmim_table_geometric")
    return resize_relative_table(table, 2 * number_after(sides[1], "w") - 1);
  if (rule == "swin_table_bicubic") {
    const int64_t from = 2 * number_after(sides[0], "w") - 1, to = 2 * number_after(sides[1], "w") - 1;
    return resize_positions(table.reshape({1, table.dim(0), table.dim(1)}), extra, from, from, to, to);
  }
  const std::vector<int64_t> old_sides = numbers_after(sides[0], ""), new_sides = numbers_after(sides[1], "");
  if (rule == "mvit_relpos_linear") {
    return resize_positions_linear(table.reshape({1, table.dim(0), table.dim(1)}), extra,
                                   {1, old_sides.at(0), 1}, {1, new_sides.at(0), 1});
  }
  if (rule == "mvit_abs_trilinear")
    return resize_positions_linear(table, extra, space_time(old_sides), space_time(new_sides));
  const PositionGrid from = square_or_not(old_sides), to = square_or_not(new_sides);
  if (rule == "pvt_bilinear") return resize_positions_linear(table, extra, from, to);
  if (rule == "mae_bicubic") return resize_positions(table, extra, from.rows, from.cols, to.rows, to.cols);
  throw UnknownOption("parity: out." + name + " is not known");
}

void run_interp(ParityFile& file) {
  for (const std::string& name : file.names("out.")) {
    const double limit = name.starts_with("simmim_table_geometric") ? 1e-4 : 2e-6;
    file.within("out." + name, resized(name, file.read("input." + name)), limit, 0);
  }
}

void run_sincos(ParityFile& file) {
  for (const std::string& name : file.names("out.")) sincos(file, name);
}

const RegisterParity tables({"pos_sincos", [](const Options& o) { return o.text("case") == "pos_sincos"; },
                             run_sincos});
const RegisterParity resizing({"pos_interp", [](const Options& o) { return o.text("case") == "pos_interp"; },
                               run_interp});

}  // namespace
}  // namespace tessera
