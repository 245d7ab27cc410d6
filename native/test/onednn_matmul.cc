#include "test/onednn_matmul.h"

#include <omp.h>

#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>

#include "core/error.h"

namespace skein::test {
namespace {

dnnl::memory::data_type DataType(DType type) {
  return type == DType::kBFloat16 ? dnnl::memory::data_type::bf16 : dnnl::memory::data_type::f32;
}

// Row-major float32, as our matrices are.
dnnl::memory::desc PlainDesc(const Matrix& m) {
  return {{m.rows, m.cols}, dnnl::memory::data_type::f32, dnnl::memory::dims{m.stride, 1}};
}

// Version 3 builds a primitive from its arguments, version 2 from a descriptor of them.
dnnl::matmul::primitive_desc MakeProduct(const dnnl::engine& engine, const dnnl::memory::desc& x,
                                         const dnnl::memory::desc& weight,
                                         const dnnl::memory::desc& out) {
#if DNNL_VERSION_MAJOR >= 3
  return dnnl::matmul::primitive_desc(engine, x, weight, out);
#else
  return dnnl::matmul::primitive_desc(dnnl::matmul::desc(x, weight, out), engine);
#endif
}

// oneDNN's exceptions end here.
template <class Body>
auto Guarded(const char* what, const Body& body) {
  try {
    return body();
  } catch (const dnnl::error& error) {
    throw Error("UNSUPPORTED_MODEL", Format("oneDNN: %s: %s", what, error.message));
  }
}

}  // namespace

// One compiled product for each number of rows seen, each with the weights in the layout that it
// wants.
struct OneDnnMatmul::Impl {
  struct Product {
    dnnl::matmul matmul;
    dnnl::memory::desc x_desc;
    dnnl::memory weight;
    std::string implementation;
  };

  const Product& ForRows(int64_t rows) {
    const auto found = products.find(rows);
    if (found != products.end()) return found->second;
    const dnnl::memory::desc x({rows, in}, DataType(type), dnnl::memory::format_tag::ab);
    const dnnl::memory::desc any({in, out}, DataType(type), dnnl::memory::format_tag::any);
    const dnnl::memory::desc y({rows, out}, dnnl::memory::data_type::f32,
                               dnnl::memory::format_tag::ab);
    const auto primitive = MakeProduct(engine, x, any, y);
    Product product{dnnl::matmul(primitive), x, dnnl::memory(primitive.weights_desc(), engine),
                    primitive.impl_info_str()};
    dnnl::reorder(plain_weight, product.weight).execute(stream, plain_weight, product.weight);
    stream.wait();
    return products.emplace(rows, std::move(product)).first->second;
  }

  DType type = DType::kFloat32;
  int64_t in = 0, out = 0;
  int num_threads = 1;
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  dnnl::memory plain_weight;
  std::unordered_map<int64_t, Product> products;
  std::string implementation;
};

OneDnnMatmul::OneDnnMatmul(const Matrix& weight, DType type, int num_threads)
    : impl_(std::make_unique<Impl>()) {
  SKEIN_CHECK(weight.type == DType::kFloat32, "weight is %s", Name(weight.type));
  impl_->type = type;
  impl_->in = weight.cols;
  impl_->out = weight.rows;
  impl_->num_threads = num_threads;
  // [in, out] seen through the strides of [out, in].
  const dnnl::memory::desc transposed({weight.cols, weight.rows}, dnnl::memory::data_type::f32,
                                      dnnl::memory::dims{1, weight.stride});
  impl_->plain_weight = dnnl::memory(transposed, impl_->engine, weight.data);
  omp_set_num_threads(num_threads);
  Guarded("product", [&] { impl_->ForRows(1); });
}

OneDnnMatmul::~OneDnnMatmul() = default;

std::string OneDnnMatmul::Version() {
  const dnnl_version_t* version = dnnl_version();
  return Format("%d.%d.%d", version->major, version->minor, version->patch);
}

void OneDnnMatmul::Multiply(const Matrix& x, const Matrix& out) {
  SKEIN_CHECK(
      x.cols == impl_->in && out.cols == impl_->out && out.rows == x.rows && out.stride == out.cols,
      "shapes of the product");
  // Per calling thread: OpenMP keeps the number for each.
  omp_set_num_threads(impl_->num_threads);
  Guarded("product", [&] {
    const Impl::Product& product = impl_->ForRows(x.rows);
    dnnl::memory plain(PlainDesc(x), impl_->engine, x.data);
    dnnl::memory rounded = plain;
    if (impl_->type == DType::kBFloat16 || x.stride != x.cols) {
      rounded = dnnl::memory(product.x_desc, impl_->engine);
      dnnl::reorder(plain, rounded).execute(impl_->stream, plain, rounded);
    }
    dnnl::memory result(PlainDesc(out), impl_->engine, out.data);
    product.matmul.execute(
        impl_->stream,
        {{DNNL_ARG_SRC, rounded}, {DNNL_ARG_WEIGHTS, product.weight}, {DNNL_ARG_DST, result}});
    impl_->stream.wait();
    impl_->implementation = product.implementation;
  });
}

std::string OneDnnMatmul::implementation() const { return impl_->implementation; }

}  // namespace skein::test
