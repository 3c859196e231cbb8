#pragma once
// The patches of pictures that excite a channel most. After Zeiler and Fergus, "Visualizing and Understanding
// Convolutional Networks", 2014, figure 2 (the patches, without the deconvolution beside them).

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/device.h"
#include "data/dataset.h"
#include "data/image.h"
#include "nn/model.h"
#include "nn/receptive_field.h"

namespace weft {

struct ExcitingPatch {
  std::int64_t item = 0;  ///< index in the data set
  Box box;                ///< what the place with the largest activation sees of it, without padding
  float activation = 0;
};

struct ChannelPatches {
  std::int64_t channel = 0;
  std::vector<ExcitingPatch> patches;  ///< the strongest first, one of a picture
};

struct LayerPatches {
  std::string layer;                                 ///< the last operation of it, as the graph calls it
  bool last_of_size = false;                         ///< no later layer has activations of this height and width
  std::int64_t height = 0, width = 0, channels = 0;  ///< of its activations
  ReceptiveField field;
  std::vector<ChannelPatches> chosen;
};

struct ExcitingPatchesOptions {
  std::size_t channels = 8, patches = 9;  ///< shown of a layer, of a channel
  std::int64_t pictures = 500;            ///< looked at: so many, spread_over_classes()
  std::int64_t batch = 16;
  bool every_layer = true;  ///< else, of those of the same height and width, the last
};

/// At most `count` items of the data set, ascending: of each class as many, or all it has where it has fewer, at even
/// distances from its first on. The same items whenever it is asked. (Of several labels, each set of them is a class.)
std::vector<std::int64_t> spread_over_classes(const Dataset& data, std::int64_t count);

/// For each convolution of the network its layer, in the network's order: the convolution with what follows it alone,
/// its batch norm, the add of a residual block, its ReLU. Convolutions that end in the same ReLU are one layer. Of its
/// channels those are shown that are the choosiest: whose strongest patches stand out most over the channel's mean
/// maximum. A channel that no picture excites is left out, and so is a layer without channels.
std::vector<LayerPatches> exciting_patches(const Model& model, std::shared_ptr<Device> device, const Dataset& data,
                                           const ExcitingPatchesOptions& options = {});

}  // namespace weft
