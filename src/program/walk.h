/* The parts of a program in the order of the file: program_walk_begin, _names, each tensor, each tensor's
 * constant, each step and then its constants. */
#ifndef MQ_PROGRAM_WALK_H
#define MQ_PROGRAM_WALK_H

#include "program/file.h"

void program_walk_begin(struct program_codec *codec, struct mq_program *program);
void program_walk_names(struct program_codec *codec, struct mq_program *program);
void program_walk_tensor(struct program_codec *codec, struct mq_program_tensor *tensor, bool *is_constant);
void program_walk_step(struct program_codec *codec, struct mq_program_step *step);
/* Completes the header (its three sizes are set), and writes it. */
void program_file_seal(void *file, struct program_file_header *header);

#endif
