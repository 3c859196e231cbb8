// cuBLAS beside our gemm: cublasGemmEx, and every algorithm that cublasLt proposes; the fastest for the call is kept.
// cuBLAS counts matrices column by column, so y = op(a) op(b) is asked for as y^T = op(b)^T op(a)^T.

#include <cublasLt.h>
#include <cublas_v2.h>
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include "bench/peers/library.h"
#include "bench/peers/peer.h"
#include "kernels/error.h"
#include "kernels/ops.h"

namespace weft::bench {
namespace {

using extents::Gemm;

constexpr std::size_t kWorkspace = std::size_t{64} << 20;
constexpr int kProposals = 32;

void check(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS) fail(fmt::format("cuBLAS: {} gave status {}", what, static_cast<int>(status)));
}

/// Its header overloads this name for C++, so its type is written out.
using GemmEx = cublasStatus_t (*)(cublasHandle_t, cublasOperation_t, cublasOperation_t, int, int, int, const void*,
                                  const void*, cudaDataType, int, const void*, cudaDataType, int, const void*, void*,
                                  cudaDataType, int, cublasComputeType_t, cublasGemmAlgo_t);

/// The functions that are used, found by name.
struct Functions {
  Library blas{{fmt::format("libcublas.so.{}", CUBLAS_VER_MAJOR), "libcublas.so"}};
  Library lt{{fmt::format("libcublasLt.so.{}", CUBLAS_VER_MAJOR), "libcublasLt.so"}};
#define WEFT_FUNCTION(library, name) decltype(&::name) name = library.function<decltype(&::name)>(#name)
  WEFT_FUNCTION(blas, cublasCreate_v2);
  WEFT_FUNCTION(blas, cublasGetVersion_v2);
  WEFT_FUNCTION(blas, cublasSetStream_v2);
  WEFT_FUNCTION(blas, cublasSetWorkspace_v2);
  WEFT_FUNCTION(lt, cublasLtCreate);
  WEFT_FUNCTION(lt, cublasLtMatmul);
  WEFT_FUNCTION(lt, cublasLtMatmulAlgoGetHeuristic);
  WEFT_FUNCTION(lt, cublasLtMatmulDescCreate);
  WEFT_FUNCTION(lt, cublasLtMatmulDescDestroy);
  WEFT_FUNCTION(lt, cublasLtMatmulDescSetAttribute);
  WEFT_FUNCTION(lt, cublasLtMatrixLayoutCreate);
  WEFT_FUNCTION(lt, cublasLtMatrixLayoutDestroy);
  WEFT_FUNCTION(lt, cublasLtMatmulPreferenceCreate);
  WEFT_FUNCTION(lt, cublasLtMatmulPreferenceDestroy);
  WEFT_FUNCTION(lt, cublasLtMatmulPreferenceSetAttribute);
#undef WEFT_FUNCTION
  GemmEx cublasGemmEx = blas.function<GemmEx>("cublasGemmEx");
};

/// A product in column-major terms: y^T (N, M) = op(b)^T (N, K) op(a)^T (K, M).
struct Product {
  std::int64_t m, n, k;  ///< N, M, K of ours
  cublasOperation_t trans_b, trans_a;
  std::int64_t ldb, lda, ldy;
  cudaDataType_t type;
  cublasComputeType_t compute;
  float alpha, beta;
};

Product product_of(const Problem& problem) {
  const auto* e = problem.extents;
  const std::int64_t M = e[Gemm::M], N = e[Gemm::N], K = e[Gemm::K];
  const bool trans_a = e[Gemm::trans_a] != 0, trans_b = e[Gemm::trans_b] != 0;
  const bool f32 = problem.dtype == DType::f32;
  return {.m = N,
          .n = M,
          .k = K,
          .trans_b = trans_b ? CUBLAS_OP_T : CUBLAS_OP_N,
          .trans_a = trans_a ? CUBLAS_OP_T : CUBLAS_OP_N,
          .ldb = trans_b ? K : N,
          .lda = trans_a ? M : K,
          .ldy = N,
          .type = f32 ? CUDA_R_32F : CUDA_R_16BF,
          .compute = f32 && e[Gemm::tf32] != 0 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F,
          .alpha = static_cast<float>(problem.scalars[Gemm::alpha]),
          .beta = static_cast<float>(problem.scalars[Gemm::beta])};
}

/// cublasLt's descriptors of one product, and the algorithms that it proposes for it.
class LtProduct {
 public:
  LtProduct(const Functions& f, cublasLtHandle_t handle, const Product& p, const void* bias)
      : f_(f), handle_(handle), p_(p) {
    check(f.cublasLtMatmulDescCreate(&what_, p.compute, CUDA_R_32F), "cublasLtMatmulDescCreate");
    set(CUBLASLT_MATMUL_DESC_TRANSA, p.trans_b);
    set(CUBLASLT_MATMUL_DESC_TRANSB, p.trans_a);
    if (bias != nullptr) {
      set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
      set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, p.type);
      set_bias(bias);
    }
    layout(b_, p.trans_b == CUBLAS_OP_N ? p.m : p.k, p.trans_b == CUBLAS_OP_N ? p.k : p.m, p.ldb);
    layout(a_, p.trans_a == CUBLAS_OP_N ? p.k : p.n, p.trans_a == CUBLAS_OP_N ? p.n : p.k, p.lda);
    layout(y_, p.m, p.n, p.ldy);
    cublasLtMatmulPreference_t preference = nullptr;
    check(f.cublasLtMatmulPreferenceCreate(&preference), "cublasLtMatmulPreferenceCreate");
    f.cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &kWorkspace,
                                           sizeof kWorkspace);
    proposals_.resize(kProposals);
    int count = 0;
    const cublasStatus_t status = f.cublasLtMatmulAlgoGetHeuristic(handle, what_, b_, a_, y_, y_, preference,
                                                                   kProposals, proposals_.data(), &count);
    proposals_.resize(status == CUBLAS_STATUS_SUCCESS ? static_cast<std::size_t>(count) : 0);
    f.cublasLtMatmulPreferenceDestroy(preference);
  }
  LtProduct(const LtProduct&) = delete;
  LtProduct& operator=(const LtProduct&) = delete;
  ~LtProduct() {
    f_.cublasLtMatrixLayoutDestroy(a_);
    f_.cublasLtMatrixLayoutDestroy(b_);
    f_.cublasLtMatrixLayoutDestroy(y_);
    f_.cublasLtMatmulDescDestroy(what_);
  }

  std::size_t count() const { return proposals_.size(); }
  void set_bias(const void* bias) { set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias); }
  cublasStatus_t run(std::size_t which, const void* a, const void* b, void* y, void* workspace,
                     cudaStream_t stream) const {
    return f_.cublasLtMatmul(handle_, what_, &p_.alpha, b, b_, a, a_, &p_.beta, y, y_, y, y_, &proposals_[which].algo,
                             workspace, kWorkspace, stream);
  }

 private:
  template <class T>
  void set(cublasLtMatmulDescAttributes_t attribute, T value) {
    check(f_.cublasLtMatmulDescSetAttribute(what_, attribute, &value, sizeof value), "cublasLtMatmulDescSetAttribute");
  }
  void layout(cublasLtMatrixLayout_t& to, std::int64_t rows, std::int64_t columns, std::int64_t ld) const {
    check(f_.cublasLtMatrixLayoutCreate(&to, p_.type, static_cast<std::uint64_t>(rows),
                                        static_cast<std::uint64_t>(columns), ld),
          "cublasLtMatrixLayoutCreate");
  }

  const Functions& f_;
  cublasLtHandle_t handle_;
  Product p_;
  cublasLtMatmulDesc_t what_ = nullptr;
  cublasLtMatrixLayout_t a_ = nullptr, b_ = nullptr, y_ = nullptr;
  std::vector<cublasLtMatmulHeuristicResult_t> proposals_;
};

class Cublas final : public Peer {
 public:
  explicit Cublas(const Place& place) : workspace_(place, kWorkspace) {
    check(f_.cublasCreate_v2(&handle_), "cublasCreate");
    check(f_.cublasLtCreate(&lt_handle_), "cublasLtCreate");
    check(f_.cublasSetWorkspace_v2(handle_, workspace_.data(), kWorkspace), "cublasSetWorkspace");
    check(f_.cublasGetVersion_v2(handle_, &version_), "cublasGetVersion");
  }

  std::string name() const override {
    return fmt::format("cuBLAS {}.{}.{}", version_ / 10000, version_ / 100 % 100, version_ % 100);
  }

  std::optional<PeerCall> prepare(const Case&, const Call& call, Clock& clock) override {
    if (peer_function(call.op(), "cublas") != "gemm") return {};
    const Problem& problem = call.problem();
    if (problem.dtype != DType::f32 && problem.dtype != DType::bf16) return {};
    // What this file does not know of the op (leading dimensions, other epilogues) it does not take.
    for (int i = Gemm::has_bias + 1; i < kMaxExtents; ++i)
      if (i != Gemm::tf32 && problem.extents[i] != 0) return {};
    const Product p = product_of(problem);
    const bool has_bias = problem.extents[Gemm::has_bias] != 0;
    auto* const stream = static_cast<cudaStream_t>(clock.stream());
    check(f_.cublasSetStream_v2(handle_, stream), "cublasSetStream");

    PeerCall best;
    double best_seconds = INFINITY;
    const auto consider = [&](std::string algorithm, std::function<void(int)> run) {
      const double seconds = quick_time(clock, [&] { run(0); });
      if (!(seconds < best_seconds)) return;
      best_seconds = seconds;
      best = {std::move(algorithm), std::move(run)};
    };
    if (!has_bias) {
      consider("cublasGemmEx", [this, &call, p](int set) {
        check(f_.cublasGemmEx(handle_, p.trans_b, p.trans_a, static_cast<int>(p.m), static_cast<int>(p.n),
                              static_cast<int>(p.k), &p.alpha, call.find(set, "b"), p.type, static_cast<int>(p.ldb),
                              call.find(set, "a"), p.type, static_cast<int>(p.lda), &p.beta, call.find(set, "y"),
                              p.type, static_cast<int>(p.ldy), p.compute, CUBLAS_GEMM_DEFAULT),
              "cublasGemmEx");
      });
    }
    const auto lt = std::make_shared<LtProduct>(f_, lt_handle_, p, has_bias ? call.find(0, "bias") : nullptr);
    for (std::size_t i = 0; i < lt->count(); ++i) {
      const auto run = [this, &call, lt, i, stream](int set) {
        return lt->run(i, call.find(set, "a"), call.find(set, "b"), call.find(set, "y"), workspace_.data(), stream);
      };
      if (run(0) != CUBLAS_STATUS_SUCCESS) continue;
      consider(fmt::format("cublasLt, proposal {} of {}", i + 1, lt->count()), [&call, lt, run, has_bias](int set) {
        if (has_bias) lt->set_bias(call.find(set, "bias"));
        check(run(set), "cublasLtMatmul");
      });
    }
    if (best.run == nullptr) fail("cuBLAS: no algorithm takes this product");
    return best;
  }

 private:
  Functions f_;
  Memory workspace_;
  cublasHandle_t handle_ = nullptr;
  cublasLtHandle_t lt_handle_ = nullptr;
  int version_ = 0;
};

}  // namespace

std::unique_ptr<Peer> open_cublas(const Place& place, std::vector<std::string>& said) {
  try {
    return std::make_unique<Cublas>(place);
  } catch (const weft::Error& error) {
    said.push_back(fmt::format("cuBLAS is left out: {}", error.what()));
    return nullptr;
  }
}

}  // namespace weft::bench
