// The drawn sample: the same for the same seed, whole as files, and no giveaway: a linear classifier on thumbnails of
// 8 x 8 pixels, fitted to convergence, must not tell cats from dogs.

#include "data/sample.h"

#include <doctest/doctest.h>

#include <cmath>

#include "data/image_folder.h"
#include "data/resize.h"
#include "tests/data/pictures.h"

namespace weft::test {
namespace {

constexpr int kSide = 8, kFeatures = kSide * kSide * 3;

struct Thumbnails {
  std::vector<std::vector<double>> rows;  // (N, kFeatures)
  std::vector<int> labels;                // (N)
};

Thumbnails thumbnails_of(const std::vector<Sample>& samples) {
  Thumbnails result;
  for (const Sample& sample : samples) {
    Image small = resize(read_image(sample.path), kSide, kSide);
    result.rows.emplace_back(small.rgb.begin(), small.rgb.end());
    result.labels.push_back(sample.label);
  }
  return result;
}

// Each feature to mean 0 and standard deviation 1 of the training part.
void standardise(Thumbnails& train, Thumbnails& valid) {
  for (int f = 0; f < kFeatures; ++f) {
    double mean = 0, square = 0, n = double(train.rows.size());
    for (auto& row : train.rows) mean += row[f] / n;
    for (auto& row : train.rows) square += (row[f] - mean) * (row[f] - mean) / n;
    double scale = square > 0 ? 1 / std::sqrt(square) : 0;
    for (auto* part : {&train, &valid}) {
      for (auto& row : part->rows) row[f] = (row[f] - mean) * scale;
    }
  }
}

// Solves A x = b for a symmetric positive definite A of n x n (Cholesky), in place of b.
void solve(std::vector<double>& a, std::vector<double>& b) {
  size_t n = b.size();
  for (size_t j = 0; j < n; ++j) {
    for (size_t k = 0; k < j; ++k) {
      for (size_t i = j; i < n; ++i) a[i * n + j] -= a[i * n + k] * a[j * n + k];
    }
    double root = std::sqrt(a[j * n + j]);
    for (size_t i = j; i < n; ++i) a[i * n + j] /= root;
  }
  for (size_t i = 0; i < n; ++i) {
    for (size_t k = 0; k < i; ++k) b[i] -= a[i * n + k] * b[k];
    b[i] /= a[i * n + i];
  }
  for (size_t i = n; i-- > 0;) {
    for (size_t k = i + 1; k < n; ++k) b[i] -= a[k * n + i] * b[k];
    b[i] /= a[i * n + i];
  }
}

double logit(const std::vector<double>& weights, const std::vector<double>& row) {
  double z = weights[kFeatures];
  for (int f = 0; f < kFeatures; ++f) z += weights[f] * row[f];
  return z;
}

// Logistic regression: the minimum of mean log-loss + penalty / 2 |w|^2 (bias free), by Newton's method (iteratively
// reweighted least squares; Bishop, Pattern Recognition and Machine Learning, 4.3.3). Two classes make the multinomial
// model and this one the same. Returns the weights, bias last, once no component of the gradient exceeds 1e-7.
std::vector<double> fit(const Thumbnails& data, double penalty) {
  constexpr size_t kSize = kFeatures + 1;
  std::vector<double> weights(kSize, 0.0);
  double n = double(data.rows.size()), largest = 1;
  for (int step = 0; step < 100 && largest > 1e-7; ++step) {
    std::vector<double> gradient(kSize, 0.0), hessian(kSize * kSize, 0.0);
    for (size_t i = 0; i < data.rows.size(); ++i) {
      std::vector<double> x = data.rows[i];
      x.push_back(1);
      double p = 1 / (1 + std::exp(-logit(weights, x))), curvature = p * (1 - p) / n;
      for (size_t a = 0; a < kSize; ++a) {
        gradient[a] += (p - data.labels[i]) * x[a] / n;
        for (size_t b = 0; b <= a; ++b) hessian[a * kSize + b] += curvature * x[a] * x[b];
      }
    }
    for (size_t a = 0; a < kFeatures; ++a) {
      gradient[a] += penalty * weights[a];
      hessian[a * kSize + a] += penalty;
    }
    hessian.back() += 1e-12;
    largest = 0;
    for (double g : gradient) largest = std::max(largest, std::abs(g));
    solve(hessian, gradient);
    for (size_t a = 0; a < kSize; ++a) weights[a] -= gradient[a];
  }
  REQUIRE(largest <= 1e-7);
  return weights;
}

double accuracy(const std::vector<double>& weights, const Thumbnails& data) {
  double right = 0;
  for (size_t i = 0; i < data.rows.size(); ++i) right += (logit(weights, data.rows[i]) > 0) == (data.labels[i] == 1);
  return right / double(data.rows.size());
}

TEST_CASE("a linear classifier on 8 x 8 thumbnails stays under 70% on the sample") {
  TemporaryFolder folder;
  write_sample(folder.path());
  ImageFolder data(folder.path());
  Thumbnails train = thumbnails_of(data.train_samples()), valid = thumbnails_of(data.valid_samples());
  standardise(train, valid);
  // The best over the penalties, chosen on the validation pictures themselves: more than an honest classifier could.
  for (double penalty : {1e-3, 1e-2, 1e-1, 1.0}) {
    std::vector<double> weights = fit(train, penalty);
    double seen = accuracy(weights, train), unseen = accuracy(weights, valid);
    MESSAGE("penalty " << penalty << ": " << seen << " on the training pictures, " << unseen << " on the others");
    CHECK(seen > 0.55);  // it does learn what there is
    CHECK(unseen < 0.7);
  }
}

TEST_CASE("the regression finds what is there") {  // else the test above would prove nothing
  Philox random(2, 0);
  Thumbnails train, valid;
  for (int i = 0; i < 600; ++i) {
    Thumbnails& part = i < 400 ? train : valid;
    std::vector<double> row(kFeatures);
    for (double& value : row) value = random.normal();
    part.labels.push_back(row[5] - 0.7 * row[100] > 0);
    part.rows.push_back(std::move(row));
  }
  standardise(train, valid);
  CHECK(accuracy(fit(train, 1e-2), valid) > 0.8);
}

TEST_CASE("a drawn picture depends on animal and seed alone") {
  Image cat = draw_animal(Animal::cat, 5);
  CHECK(cat.width == 128);
  CHECK(largest_difference(cat, draw_animal(Animal::cat, 5)) == 0);
  CHECK(largest_difference(cat, draw_animal(Animal::cat, 6)) > 50);
  CHECK(largest_difference(cat, draw_animal(Animal::dog, 5)) > 50);
  CHECK(draw_animal(Animal::dog, 5, 33).height == 33);
  CHECK(contains(error_of([] { draw_animal(Animal::cat, 0, 8); }), "at least 32"));
}

TEST_CASE("the sample is class folders, and the same bytes each time") {
  TemporaryFolder one, two;
  SampleOptions options{.count = 12, .seed = 3, .size = 48};
  write_sample(one.path(), options);
  write_sample(two.path(), options);
  write_sample(one.path(), options);  // once more over itself
  std::vector<std::string> files = list_files(one.path()), others = list_files(two.path());
  REQUIRE(files.size() == 15);
  REQUIRE(others.size() == 15);
  for (size_t i = 0; i < files.size(); ++i) {
    CHECK(read_file_bytes(files[i]) == read_file_bytes(others[i]));
    for (size_t k = 0; k < i; ++k) CHECK(read_file_bytes(files[i]) != read_file_bytes(files[k]));
  }
  ImageFolder data(one.path(), {.size = 32});
  CHECK(data.classes() == std::vector<std::string>{"cats", "dogs"});
  CHECK(data.train_samples().size() == 12);
  CHECK(data.valid_samples().size() == 3);
  CHECK(audit(one.path()).empty());
}

TEST_CASE("a sample does not mix with other pictures, and says where it cannot be written") {
  TemporaryFolder folder;
  folder.write("train/cats/mine.jpg", encode_jpeg(gradient(40, 40, 1)));
  std::string error = error_of([&] { write_sample(folder.path(), {.count = 4, .size = 32}); });
  CHECK(contains(error, "holds 1 file beside the sample's"));
  CHECK(list_files(folder.path()).size() == 1);
  folder.write("file", std::string("x"));
  CHECK(contains(error_of([&] { write_sample(folder / "file", {.count = 4}); }), "cannot be made"));
  CHECK(contains(error_of([&] { write_sample(folder / "new", {.count = 1}); }), "at least 2"));
}

}  // namespace
}  // namespace weft::test
