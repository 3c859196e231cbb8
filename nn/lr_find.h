#pragma once
// Finding a learning rate on a Learner (Learner::lr_find), and what is written of it.

#include <filesystem>
#include <functional>
#include <vector>

#include "core/chart.h"
#include "optim/lr_finder.h"

namespace weft {

struct LrFindOptions {
  LrSweep sweep;
  /// Called after each step, with how many were done.
  std::function<void(int done, const LrPoint&)> watch = nullptr;
};

struct LrFindResult {
  std::vector<LrPoint> points;  ///< a mini-batch each
  LrSuggestions suggestions;
  bool diverged = false;     ///< it ended before the highest rate because the loss ran away
  bool interrupted = false;  ///< it ended because stop was requested
};

/// Loss by rate, smoothed and of each batch, with the suggestions of these points: the proposal as a line across the
/// chart, the others as points of the curve. The rates' axis is logarithmic unless they were tried by equal
/// differences. The losses' axis ends a little above where the smoothed loss falls from: where it soars, it leaves the
/// chart.
Chart lr_find_chart(const std::vector<LrPoint>& points);

/// Writes RUN/lr_find.csv (step,lr,loss,smoothed_loss) and, where gnuplot is, lr_find.png and .svg (loss by rate, the
/// suggestions marked) and lr_find_rate.png and .svg (rate by mini-batch). Returns the files. Throws Error where one
/// cannot be written.
std::vector<std::filesystem::path> save_lr_find(const std::filesystem::path& run, const LrFindResult& result);
/// The points of RUN/lr_find.csv, to the bit those that were saved; none where there is no such file. Throws Error: the
/// file, the line that is not four numbers.
std::vector<LrPoint> load_lr_find(const std::filesystem::path& run);

}  // namespace weft
