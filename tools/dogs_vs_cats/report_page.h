#pragma once
// report.html: what a report knows, and how it is written down.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/chart.h"
#include "data/image.h"
#include "data/image_folder.h"
#include "nn/callbacks/step_log.h"
#include "nn/checkpoint.h"
#include "nn/interpretation.h"
#include "nn/lr_find.h"
#include "nn/run.h"
#include "nn/scores.h"

namespace weft::cli {

/// A picture of the report: what the network saw, where it looked, and what it said.
struct ShownPicture {
  std::string path;
  std::string said;       ///< the class that the probability is of
  float probability = 0;  ///< of what the network took it for; with several labels, of the label asked for
  std::string verdict;    ///< "right", "it is cats"
  Image picture;
  Image heat;  ///< the same with the heat map over it; without pixels where the network has none
};

struct ShownClass {
  std::vector<ShownPicture> most_correct, most_incorrect, most_uncertain;
};

/// Patches of one layer as one picture: a row a channel.
struct ShownPatches {
  std::string layer;
  bool last_of_size = false;  ///< open at first; the others open when they are asked for
  std::int64_t height = 0, width = 0, channels = 0;
  std::int64_t field = 0;  ///< pixels a side that a place sees
  std::vector<std::int64_t> chosen;
  Image sheet;
};

struct ReportData {
  std::string run;
  RunConfig config;
  std::vector<EpochResult> epochs;
  std::vector<LoggedStep> steps;  ///< none where the run has no steps.csv
  std::vector<LrPoint> tried;     ///< what lr-find left in the folder, if it did
  Evaluation evaluation;
  double threshold = 0.5;           ///< above which a label is said, where a picture may have several
  std::vector<ShownClass> classes;  ///< by class
  std::string heat_layer;           ///< whose activations the heat maps show; "" without maps
  Image first_filters;              ///< without pixels where they cannot be shown
  std::string first_layer;
  std::vector<ShownPatches> patches;
  std::int64_t patch_pictures = 0;  ///< validation pictures that the patches were looked for in
  bool every_layer = true;          ///< patches of each convolution's layer; else of the last of each size
  std::vector<std::int64_t> training_pictures, validation_pictures;  ///< by class
  std::int64_t training_count = 0;
  std::vector<AuditFinding> odd_files;
  bool audited = false;
  std::string layers;       ///< the table of layers
  std::string computed_on;  ///< the device that made the report
};

/// The whole page.
std::string report_page(const ReportData& data);

}  // namespace weft::cli
