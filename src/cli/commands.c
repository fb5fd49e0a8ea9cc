/* The table of commands. What is not built yet is absent. */
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"

const struct cli_command cli_commands[] = {
    {"bench", "[PLAN.yaml] [-o DIR] [--resume] [--shard I/N] [--dry-run]",
     "Runs a plan's grid, keeps every run in a store and prints the tables", cmd_bench,
     "Without a plan the built-in quick plan runs on embedded data. What the store already holds is not run\n"
     "again, so the same command goes on after a kill. Exit status 1 if a cell failed."},
    {"report", "DB... [-o DIR] [--format html|md|csv|json]", "Tables and charts from one or many stores",
     cmd_report, "Without --format all four are written."},
    {"quantize", "MODEL.onnx --target T --data D [options]",
     "Quantizes a model for a target and writes the bundle to hand over", cmd_quantize,
     "Calibrates on --data, measures on --eval-data (default: the test split of --data where it has one)."},
    {"train", "--arch A|--model M.onnx --data D [--epochs E] [-o OUT.onnx] [options]",
     "Trains a float network, from drawn weights or from a model's", cmd_train,
     "Trains on --data, measures on --eval-data (default: the test split of --data where it has one). A run "
     "that was\n"
     "interrupted goes on where it was."},
    {"eval", "MODEL.onnx|QDQ.onnx|DIR --data D [--mode float|simulate]", "Accuracy of a model or a bundle",
     cmd_eval, "Default mode: float for a model, simulate for a bundle or a Q/DQ model."},
    {"verify", "DIR|QDQ.onnx --data D [--target T] [--engine E]... [--images N]",
     "Compares simulation, integer program and real engines, tensor by tensor", cmd_verify,
     "The fast executor and the exact simulation must equal the program, the plain simulation's differences "
     "are\n"
     "explained, engines are counted. Exit status 1 if something differs that must not."},
    {"show", "MODEL.onnx|DIR [--target T] [--dot]",
     "Operators, shapes, parameters, MACs and, with a target, every quantization point and float island",
     cmd_show, NULL},
    {"reproduce", "DB RUN", "Runs a stored run again and compares every recorded number bit by bit",
     cmd_reproduce,
     "RUN is the run's id in the store, or the first digits of its identity. It runs with the instruction "
     "set that\n"
     "the store recorded; times are not compared. Exit status 1 if a number differs, or if the run cannot "
     "be\n"
     "compared because version, instruction set, oneDNN, model, data, target or the code's revisions are "
     "others."},
    {"diff", "DIR DIR", "Compares two bundles: points, scales, the layers that differ most", cmd_diff, NULL},
    {"export", "DIR --format F [-o FILE]", "Writes a bundle in the form that a vendor's tool reads",
     cmd_export, "quantize writes those of the target already, into DIR/export."},
    {"list", "targets|methods|observers|models|datasets|engines|formats|plans",
     "What there is, one line each", cmd_list, NULL},
    {"data", "make fractal -o DIR [options] | info D",
     "Makes the embedded data set, or tells what a data set holds", cmd_data, NULL},
    {"latency", "MODEL.onnx|DIR [--batch 1,8] [--engine E]...",
     "Median and 90th percentile of the time that a network takes, and its throughput, in floats and "
     "integers",
     cmd_latency,
     "On random images. Engines run one after the other, each measurement in a process of its own on "
     "--threads "
     "cores."},
    {"target", "check FILE.yaml [--methods M,...] [--epochs E] [--images N]",
     "Tries a target file on embedded networks: points, islands, integer program, exports, accuracy",
     cmd_target,
     "Needs no model and no data. Exit status 1 if something of the target does not work, 3 if the file is "
     "wrong."},
};
const size_t cli_n_commands = sizeof cli_commands / sizeof cli_commands[0];

const struct cli_command *cli_find_command(const char *name) {
  for (size_t i = 0; i < cli_n_commands; i++) {
    if (!strcmp(cli_commands[i].name, name)) {
      return &cli_commands[i];
    }
  }
  return NULL;
}

void cli_print_help(void) {
  printf(
      "usage: mqbench COMMAND [options]\n\n"
      "Quantizes neural networks for a target, honestly: an ONNX model in, the accuracy you will get out.\n\n"
      "commands:\n");
  for (size_t i = 0; i < cli_n_commands; i++) {
    printf("  %-9s %s\n", cli_commands[i].name, cli_commands[i].summary);
  }
  printf(
      "\nmqbench COMMAND --help tells more; man mqbench has it all.\n"
      "Exit status: 0 done, 1 the answer is no, 2 wrong usage, 3 bad input, 4 failure, 130 interrupted.\n");
}
