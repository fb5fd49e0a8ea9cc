/* tflite_file.h in a FlatBuffer (tflite.fbs). */
#include "deploy/tflite_file.h"

#include <cstring>
#include <map>
#include <new>
#include <vector>

#include <tflite_generated.h>

/* Of mqbench/base.h, which is C alone. */
extern "C" void *mq_alloc(size_t count, size_t bytes);
extern "C" void mq_free(void *block);

namespace {

namespace fb = flatbuffers;
namespace tf = mq_tflite;

/* A FlatBuffer has offsets of 31 bits; beside the data there are names and tables. */
const size_t max_data_bytes = (size_t)2000 << 20;
const size_t alignment = 16; /* of constants, as readers map them */

static_assert(TFLITE_INT8 == (int)tf::TensorType_INT8 && TFLITE_INT32 == (int)tf::TensorType_INT32 &&
              TFLITE_RELU6 == (int)tf::Activation_RELU6 && TFLITE_VALID == (int)tf::Padding_VALID);

/* Counted as all of the program's memory. */
class Allocator : public fb::Allocator {
 public:
  uint8_t *allocate(size_t bytes) override {
    void *block = mq_alloc(bytes, 1);
    if (!block) throw std::bad_alloc();
    return static_cast<uint8_t *>(block);
  }
  void deallocate(uint8_t *block, size_t) override { mq_free(block); }
};

/* The version of an operator as TensorFlow's own converter numbers it: what an old interpreter refuses. */
int32_t version_of(const struct tflite_operator &op, bool is_int8) {
  switch (op.code) {
    case TFLITE_CONV_2D:
    case TFLITE_DEPTHWISE_CONV_2D:
      return is_int8 ? 3 : 1;
    case TFLITE_TRANSPOSE_CONV: /* with a bias */
      return 3;
    case TFLITE_FULLY_CONNECTED:
      return op.keeps_dimensions ? 5 : is_int8 ? 4 : 1;
    case TFLITE_QUANTIZE:
    case TFLITE_RESHAPE:
    case TFLITE_LEAKY_RELU:
    case TFLITE_HARD_SWISH:
    case TFLITE_DIV:
    case TFLITE_PRELU:
    case TFLITE_SHAPE:
      return 1;
    case TFLITE_DEQUANTIZE:
      return 2;
    default:
      return is_int8 ? 2 : 1;
  }
}

struct Options {
  tf::Options type;
  fb::Offset<void> offset;
};

template <typename Table>
Options made(fb::Offset<Table> table) {
  return {tf::OptionsTraits<Table>::enum_value, table.Union()};
}

Options make_options(fb::FlatBufferBuilder &b, const struct tflite_operator &op) {
  const auto padding = static_cast<tf::Padding>(op.padding);
  const auto activation = static_cast<tf::Activation>(op.activation);
  switch (op.code) {
    case TFLITE_CONV_2D:
      return made(tf::CreateConv2DOptions(b, padding, op.stride[1], op.stride[0], activation, op.dilation[1],
                                          op.dilation[0]));
    case TFLITE_DEPTHWISE_CONV_2D:
      return made(tf::CreateDepthwiseConv2DOptions(b, padding, op.stride[1], op.stride[0], op.multiplier,
                                                   activation, op.dilation[1], op.dilation[0]));
    case TFLITE_AVERAGE_POOL_2D:
    case TFLITE_MAX_POOL_2D:
      return made(tf::CreatePool2DOptions(b, padding, op.stride[1], op.stride[0], op.kernel[1], op.kernel[0],
                                          activation));
    case TFLITE_FULLY_CONNECTED:
      return made(tf::CreateFullyConnectedOptions(b, activation, op.keeps_dimensions));
    case TFLITE_ADD:
      return made(tf::CreateAddOptions(b, activation));
    case TFLITE_SUB:
      return made(tf::CreateSubOptions(b, activation));
    case TFLITE_MUL:
      return made(tf::CreateMulOptions(b, activation));
    case TFLITE_DIV:
      return made(tf::CreateDivOptions(b, activation));
    case TFLITE_CONCATENATION:
      return made(tf::CreateConcatenationOptions(b, op.axis, activation));
    case TFLITE_GATHER:
      return made(tf::CreateGatherOptions(b, op.axis));
    case TFLITE_MEAN:
      return made(tf::CreateReducerOptions(b, op.keeps_dimensions));
    case TFLITE_STRIDED_SLICE:
      return made(tf::CreateStridedSliceOptions(b, op.begin_mask, op.end_mask));
    case TFLITE_SOFTMAX:
      return made(tf::CreateSoftmaxOptions(b, op.alpha));
    case TFLITE_LEAKY_RELU:
      return made(tf::CreateLeakyReluOptions(b, op.alpha));
    case TFLITE_RESHAPE:
      return made(tf::CreateReshapeOptions(b));
    case TFLITE_PAD:
      return made(tf::CreatePadOptions(b));
    case TFLITE_PADV2:
      return made(tf::CreatePadV2Options(b));
    case TFLITE_TRANSPOSE:
      return made(tf::CreateTransposeOptions(b));
    case TFLITE_MAXIMUM:
    case TFLITE_MINIMUM:
      return made(tf::CreateMaximumMinimumOptions(b));
    case TFLITE_QUANTIZE:
      return made(tf::CreateQuantizeOptions(b));
    case TFLITE_DEQUANTIZE:
      return made(tf::CreateDequantizeOptions(b));
    case TFLITE_HARD_SWISH:
      return made(tf::CreateHardSwishOptions(b));
    case TFLITE_TRANSPOSE_CONV:
      return made(tf::CreateTransposeConvOptions(b, padding, op.stride[1], op.stride[0], activation));
    case TFLITE_SHAPE:
      return made(tf::CreateShapeOptions(b, tf::TensorType_INT32));
    case TFLITE_LOGISTIC:
    case TFLITE_PRELU:
      break;
  }
  return {tf::Options_NONE, 0};
}

fb::Offset<tf::Quantization> make_quantization(fb::FlatBufferBuilder &b, const struct tflite_tensor &t) {
  if (t.n_scales == 0) return 0;
  const std::vector<int64_t> zero_points(t.n_scales, t.zero_point);
  const auto scales = b.CreateVector(t.scales, t.n_scales);
  return tf::CreateQuantization(b, scales, b.CreateVector(zero_points), t.quantized_dimension);
}

fb::Offset<tf::Tensor> make_tensor(fb::FlatBufferBuilder &b, const struct tflite_tensor &t, uint32_t buffer) {
  std::vector<int32_t> signature(t.shape, t.shape + t.rank);
  const auto shape = b.CreateVector(signature);
  fb::Offset<fb::Vector<int32_t>> with_batch = 0;
  if (t.has_batch) {
    signature[0] = -1;
    with_batch = b.CreateVector(signature);
  }
  const auto name = b.CreateString(t.name);
  const auto quantization = make_quantization(b, t);
  return tf::CreateTensor(b, shape, static_cast<tf::TensorType>(t.type), buffer, name, quantization,
                          with_batch);
}

fb::Offset<tf::Buffer> make_buffer(fb::FlatBufferBuilder &b, const struct tflite_tensor &t) {
  b.ForceVectorAlignment(t.bytes, 1, alignment);
  return tf::CreateBuffer(b, b.CreateVector(static_cast<const uint8_t *>(t.data), t.bytes));
}

/* Operator codes in the order of their first use. */
class Codes {
 public:
  uint32_t find(int32_t code, int32_t version) {
    const std::pair<int32_t, int32_t> key(code, version);
    const auto at = index_.emplace(key, (uint32_t)list_.size());
    if (at.second) list_.push_back(key);
    return at.first->second;
  }
  fb::Offset<fb::Vector<fb::Offset<tf::OperatorCode>>> make(fb::FlatBufferBuilder &b) const {
    std::vector<fb::Offset<tf::OperatorCode>> made;
    for (const auto &key : list_) {
      made.push_back(tf::CreateOperatorCode(b, (int8_t)key.first, key.second, key.first));
    }
    return b.CreateVector(made);
  }

 private:
  std::map<std::pair<int32_t, int32_t>, uint32_t> index_;
  std::vector<std::pair<int32_t, int32_t>> list_;
};

fb::Offset<tf::Operator> make_operator(fb::FlatBufferBuilder &b, Codes &codes,
                                       const struct tflite_operator &op, const struct tflite_model &model) {
  const uint32_t *first = op.more_inputs ? op.more_inputs : op.inputs;
  const std::vector<int32_t> inputs(first, first + op.n_inputs), outputs(1, (int32_t)op.output);
  const bool is_int8 = model.tensors[inputs[0]].type == TFLITE_INT8;
  const uint32_t code = codes.find(op.code, version_of(op, is_int8));
  const Options options = make_options(b, op);
  const auto from = b.CreateVector(inputs);
  return tf::CreateOperator(b, code, from, b.CreateVector(outputs), options.type, options.offset);
}

void build(fb::FlatBufferBuilder &b, const struct tflite_model &model) {
  std::vector<fb::Offset<tf::Buffer>> buffers(1, tf::CreateBuffer(b));
  std::vector<fb::Offset<tf::Tensor>> tensors;
  std::vector<fb::Offset<tf::Operator>> operators;
  Codes codes;
  for (uint32_t i = 0; i < model.n_tensors; i++) {
    const struct tflite_tensor &t = model.tensors[i];
    if (t.data) buffers.push_back(make_buffer(b, t));
    tensors.push_back(make_tensor(b, t, t.data ? (uint32_t)buffers.size() - 1 : 0));
  }
  for (uint32_t i = 0; i < model.n_operators; i++) {
    operators.push_back(make_operator(b, codes, model.operators[i], model));
  }
  const std::vector<int32_t> inputs(model.inputs, model.inputs + model.n_inputs);
  const std::vector<int32_t> outputs(model.outputs, model.outputs + model.n_outputs);
  const auto all_tensors = b.CreateVector(tensors);
  const auto from = b.CreateVector(inputs), to = b.CreateVector(outputs);
  const auto all_operators = b.CreateVector(operators);
  const auto name = b.CreateString(model.name);
  const std::vector<fb::Offset<tf::SubGraph>> graphs(
      1, tf::CreateSubGraph(b, all_tensors, from, to, all_operators, name));
  const auto all_codes = codes.make(b);
  const auto all_graphs = b.CreateVector(graphs);
  const auto describes = b.CreateString(model.describes);
  tf::FinishModelBuffer(b, tf::CreateModel(b, 3, all_codes, all_graphs, describes, b.CreateVector(buffers)));
}

bool fits(const struct tflite_model &model) {
  size_t bytes = 0;
  for (uint32_t i = 0; i < model.n_tensors; i++) {
    if (model.tensors[i].bytes > max_data_bytes - bytes) return false;
    bytes += model.tensors[i].bytes;
  }
  return true;
}

}  // namespace

extern "C" mq_status tflite_serialize(void **bytes, size_t *n, const struct tflite_model *model,
                                      struct mq_err *err) {
  *bytes = NULL;
  *n = 0;
  if (!fits(*model)) {
    return mq_fail(err, MQ_BAD_INPUT,
                   "format tflite: constants of more than %zu MB, expected a file below 2 GB",
                   max_data_bytes >> 20);
  }
  try {
    Allocator allocator;
    fb::FlatBufferBuilder builder(1 << 16, &allocator);
    build(builder, *model);
    fb::Verifier verifier(builder.GetBufferPointer(), builder.GetSize(), 64, UINT32_MAX);
    if (!tf::VerifyModelBuffer(verifier)) {
      return mq_fail(err, MQ_FAILED, "format tflite: the written file does not verify");
    }
    *bytes = mq_alloc(builder.GetSize(), 1);
    if (!*bytes) return mq_fail_memory(err, "a TFLite file");
    *n = builder.GetSize();
    memcpy(*bytes, builder.GetBufferPointer(), *n);
  } catch (const std::bad_alloc &) {
    return mq_fail_memory(err, "a TFLite file");
  }
  return MQ_OK;
}
