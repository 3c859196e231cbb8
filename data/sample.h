#pragma once
// The built-in sample: drawn cats and dogs, for a first run with no data.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/image.h"

namespace weft {

enum class Animal { cat, dog };

/// A drawn picture of size x size pixels, whole for any size from 32. The same (animal, seed) gives the same picture.
Image draw_animal(Animal animal, uint64_t seed, int size = 128);

struct SampleOptions {
  int count = 400;  ///< training pictures, half of them cats; a quarter as many again are for validation
  uint64_t seed = 0;
  int size = 128;  ///< side in pixels
};

/// Writes DIR/train/cats, DIR/train/dogs, DIR/valid/cats and DIR/valid/dogs as JPEGs, `cat.0000.jpg` and so on. Throws
/// Error if the folder cannot be written, or if there are other pictures in it.
void write_sample(const std::filesystem::path& folder, SampleOptions options = {});

/// What a drawn scene shows: any of "cat" and "dog", "indoors" (a room rather than a meadow), and "spotted" (an animal
/// with a spotted coat).
struct Scene {
  Image image;
  std::vector<std::string> labels;  ///< in alphabetical order; may be empty
};

/// A cat, a dog, both or none, by seed % 4, indoors or out. The same seed gives the same scene.
Scene draw_scene(uint64_t seed, int size = 128);

/// Writes scenes as DIR/train/0000.jpg and so on, DIR/valid/ likewise, and DIR/labels.csv (data/label_list.h). Throws
/// Error as write_sample().
void write_labelled_sample(const std::filesystem::path& folder, SampleOptions options = {});

}  // namespace weft
