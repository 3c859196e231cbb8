#pragma once
// A model in parts, from the input to the head: what is frozen, and what learns at which rate.

#include <functional>
#include <string>
#include <vector>

#include "nn/model.h"

namespace weft {

/// Says of a layer's or a parameter's path whether it comes before `layer` on the way from the input (GraphOptions::
/// frozen). `layer` is a path of torchvision's ("layer4", "layer4.1.conv2"). Throws Error listing what there is
/// where there is none of this name, or where nothing comes before it.
std::function<bool(const std::string&)> layers_before(const Model& model, const std::string& layer);

/// The layers at which parameter groups begin, behind the first: {} for one group; the head for two; for three the
/// trunk is cut as well: ResNets before layer3, SqueezeNet 1.1 before features.6, MobileNet V2 before features.7,
/// LeNet before conv2, the MLP before fc2 (as fast.ai cuts its ResNets), any other model where half of the trunk's
/// layers with parameters lie on either side. Throws UsageError for another number of groups, Error for a trunk of a
/// single layer that should be cut.
std::vector<std::string> group_starts(const Model& model, int groups);
/// The group of a parameter's name, counted from the input (LearnerOptions::group_of).
std::function<int(const std::string&)> layer_groups(const Model& model, int groups);

}  // namespace weft
