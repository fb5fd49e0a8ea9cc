/* One function per architecture: from the input to the logits. */
#ifndef MQ_ZOO_ARCHITECTURES_H
#define MQ_ZOO_ARCHITECTURES_H

#include "zoo/builder.h"

void zoo_resnet14(struct zoo_builder *b);
void zoo_resnet18(struct zoo_builder *b);
void zoo_resnet20(struct zoo_builder *b);
void zoo_resnet50(struct zoo_builder *b);
void zoo_mobilenet_v2(struct zoo_builder *b);
void zoo_efficientnet_lite0(struct zoo_builder *b);
void zoo_regnetx_600mf(struct zoo_builder *b);

#endif
