/* Operators that an integer program has no step for: the walk fails at them and names the node. */
#include "deploy/lower.h"

#define NONE(name) const struct lower_op deploy_lower_##name = {0};
/* No logarithm. */
NONE(LogSoftmax)
/* Shapes are computed when a model is loaded. */
NONE(And)
NONE(Ceil)
NONE(Constant)
NONE(ConstantOfShape)
NONE(Equal)
NONE(Floor)
NONE(Greater)
NONE(Less)
NONE(Max)
NONE(Min)
NONE(Mod)
NONE(Neg)
NONE(Not)
NONE(Or)
NONE(Range)
NONE(ReduceProd)
NONE(Shape)
NONE(Where)
NONE(Xor)
/* Models that hold their own points, graphs for training, graphs on their way to a file. */
NONE(BatchStatistics)
NONE(DequantizeLinear)
NONE(FoldBias)
NONE(FoldFactor)
NONE(Foreign)
NONE(QuantizeLinear)
NONE(ScaleChannels)
