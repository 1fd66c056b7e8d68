// CPU half of linear: the gemm door is all of it.
#include "engine/gemm.h"
#include "ops/linear/kernels.h"

namespace tessera {

const LinearKernels linear_cpu{gemm::forward, gemm::input_gradient, gemm::weight_gradient,
                               gemm::bias_gradient};

}  // namespace tessera
