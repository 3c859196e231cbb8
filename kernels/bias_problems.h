#pragma once
// The shapes worth testing of what goes over the rows of a matrix and has a number for each column.

#include "kernels/catalogue.h"
#include "kernels/target.h"

namespace weft::WEFT_TARGET {

inline constexpr const char* kBiasExtents[] = {"rows", "C"};
inline constexpr Problem kBiasProblems[] = {
    {{1, 1}},
    {{2, 3}},
    {{3, 2}},
    {{7, 31}},
    {{33, 7}},
    {{127, 10}},
    {{65, 129}},
    {{1031, 33}},
    {{16, 1000}, {}, DType::f32, "the head of an ImageNet model"},
    {{784, 64}, {}, DType::f32, "resnet18 layer1, 28 x 28"},
    {{2, 4096}},
    {{517, 136}, {}, DType::f32, "two chunks of rows, strips of channels"},
};

}  // namespace weft::WEFT_TARGET
