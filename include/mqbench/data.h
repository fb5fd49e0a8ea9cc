/* Data sets: from files, archives or a formula to float32 images, channels last. */
#ifndef MQBENCH_DATA_H
#define MQBENCH_DATA_H

#include "mqbench/tensor.h"

/* A parsed data argument KIND:PATH[,key=value...] (docs/data.md lists kinds and keys). Plain data. */
typedef enum mq_data_kind {
  MQ_DATA_CIFAR10 = 1, /* binary files */
  MQ_DATA_IDX,         /* MNIST-like, .gz too */
  MQ_DATA_FOLDER,      /* class folders, or list=FILE */
  MQ_DATA_TAR,         /* the same in a tar, .gz too; PATH may be a pattern */
  MQ_DATA_NPY,         /* x.npy[,labels=y.npy] */
  MQ_DATA_FRACTAL,     /* formula driven, no path */
} mq_data_kind;

typedef enum mq_data_split {
  MQ_SPLIT_DEFAULT,
  MQ_SPLIT_TRAIN,
  MQ_SPLIT_TEST
} mq_data_split;

struct mq_preprocess {
  int64_t resize;        /* short side; 0: none */
  int64_t crop;          /* centre crop, square; 0: none */
  int64_t size[2];       /* exact height, width (aspect not kept); 0: none */
  float mean[3], std[3]; /* R G B (whatever is_bgr says), in units of pixel / 255 */
  bool is_bgr;
  bool is_nhwc; /* logical layout handed to the model: N H W C instead of N C H W */
  bool ignores_exif;
};

struct mq_data_spec {
  mq_data_kind kind;
  char *path;   /* owned, may be "" */
  char *labels; /* list= or labels=, owned, may be NULL */
  char *cache;  /* owned, may be NULL */
  mq_data_split split;
  int64_t memory_mib;   /* memory=: decoded images kept in memory, at most; -1: the default */
  int64_t limit;        /* 0: all */
  int64_t label_offset; /* added to every label */
  bool is_calib_first;  /* calib_order=first */
  bool has_preprocess;  /* preset=, mean=, resize=... was given */
  struct mq_preprocess preprocess;
  int64_t n_classes; /* classes= (fractal), 0: default */
  int64_t n_images;  /* images= (fractal), 0: default */
  uint64_t seed;     /* seed= (fractal) */
};
mq_status mq_data_spec_parse(struct mq_data_spec *spec, const char *text, struct mq_err *err) MQ_MUST_CHECK;
void mq_data_spec_deinit(struct mq_data_spec *spec);
/* Canonical text: equal specs give equal text. Owned by the caller (mq_free). */
mq_status mq_data_spec_format(char **text, const struct mq_data_spec *spec, struct mq_err *err) MQ_MUST_CHECK;

/* An opened data set. Reading is thread safe. Images come in a fixed order: file order for archives and
 * binary files, byte order of names for folders. */
struct mq_dataset;
struct mq_dataset_info {
  int64_t n_images;
  int64_t n_classes; /* 0 when there are no labels; otherwise 1 + the largest label or class folders */
  bool has_labels;
  struct mq_shape image;    /* C H W after preprocessing; dims -1 where images differ and nothing resizes */
  bool has_train, has_test; /* the source has splits of its own */
};
mq_status mq_dataset_open(struct mq_dataset **dataset, const struct mq_data_spec *spec,
                          struct mq_err *err) MQ_MUST_CHECK;
void mq_dataset_close(struct mq_dataset *dataset);
const struct mq_dataset_info *mq_dataset_get_info(const struct mq_dataset *dataset);
/* SHA-256 over names, labels and content of every image in order (hex, 64 + NUL). */
mq_status mq_dataset_hash(char hex[65], struct mq_dataset *dataset, struct mq_err *err) MQ_MUST_CHECK;
/* The same, kept in `directory` (one small file, named after names, labels and the path, size, times and
 * inode of every file the images lie in), so that unchanged files are not read again. What changed a moment
 * before the data set was opened is read; a directory that cannot be written is no failure. */
mq_status mq_dataset_hash_kept(char hex[65], struct mq_dataset *dataset, const char *directory,
                               struct mq_err *err) MQ_MUST_CHECK;
const char *mq_dataset_name(const struct mq_dataset *dataset, int64_t index); /* "airplane/0000.jpg", "#17" */
const char *mq_dataset_class_name(const struct mq_dataset *dataset, int64_t label); /* or NULL */
int64_t mq_dataset_label(const struct mq_dataset *dataset, int64_t index);          /* -1: none */
/* One image, decoded and preprocessed, into pixels[H x W x C] float32 (channels last whatever is_nhwc says).
 */
mq_status mq_dataset_read(float *pixels, struct mq_dataset *dataset, int64_t index,
                          struct mq_err *err) MQ_MUST_CHECK;
/* Images that were damaged (truncated) and decoded as far as they went, so far. */
int64_t mq_dataset_damaged(const struct mq_dataset *dataset);

/* ---- One image, for programs that classify what they are given ------------------------------------------
 * Preprocessing as in the keys of a data argument: "preset=imagenet", "size=32,mean=0.5/0.5/0.5". A key that
 * has nothing to do with it is MQ_BAD_USAGE. */
mq_status mq_preprocess_parse(struct mq_preprocess *preprocess, const char *keys,
                              struct mq_err *err) MQ_MUST_CHECK;
/* A JPEG or PNG file, decoded and preprocessed as mq_dataset_read does it, into pixels[height x width x 3]
 * float32, channels last. MQ_BAD_INPUT where preprocessing gives another size. An image that ends early is
 * decoded as far as it goes, with a warning. */
mq_status mq_image_load(float *pixels, int64_t height, int64_t width, const char *path,
                        const struct mq_preprocess *preprocess, struct mq_err *err) MQ_MUST_CHECK;

/* ---- Training: random views of an image -----------------------------------------------------------------
 * Every draw comes from the counter-based generator keyed by (seed, MQ_RNG_AUGMENT, epoch, image), so a view
 * does not depend on who makes it, nor when. Order: crop, flip, colours, then the data set's mean and std.
 * Small images: pad by `pad` zeros (black before mean and std) on every side, crop the size of the evaluation
 * image at a random place. Large ones (resized_crop): a rectangle of `area` of the image's area and `ratio`
 * aspect (ten tries, then the centre), resized bilinearly with antialias to the evaluation size:
 * torchvision's RandomResizedCrop. Colours: ColorJitter's four operations in random order, factors uniform in
 * 1 +- the given amount (not below 0; hue: +- the amount of a turn, at most 0.5), by torchvision's tensor
 * formulas on float32; saturation and hue leave images of one channel alone. Images given as float32 (npy)
 * can be cropped and flipped only. */
struct mq_augment {
  bool flips;                                   /* left and right exchanged with probability 1/2 */
  int64_t pad;                                  /* 0: no random crop */
  bool resized_crop;                            /* instead of the data set's own resize and crop */
  double area[2], ratio[2];                     /* both 0: 0.08..1, 3/4..4/3 (width / height) */
  double brightness, contrast, saturation, hue; /* 0: untouched */
};
/* The pipeline's own: pad 4 and flip up to 64 pixels; resized crop, flip and ColorJitter (0.2, 0.2, 0.2, 0.1)
 * above. Images given as float32: flip alone above 64 pixels; nothing where a side is below 8. */
struct mq_augment mq_augment_default(const struct mq_dataset *dataset);
/* A random view of one image, float32 like mq_dataset_read. MQ_BAD_USAGE for an augmentation that makes no
 * sense (ranges upside down, hue above 0.5, ...) or that the data set cannot have. */
mq_status mq_dataset_read_augmented(float *pixels, struct mq_dataset *dataset, int64_t index,
                                    const struct mq_augment *augment, uint64_t seed, uint64_t epoch,
                                    struct mq_err *err) MQ_MUST_CHECK;
/* All indices in the random order of an epoch (keyed by seed and epoch). Caller frees (mq_free). */
mq_status mq_dataset_shuffle(int64_t **indices, const struct mq_dataset *dataset, uint64_t seed,
                             uint64_t epoch, struct mq_err *err) MQ_MUST_CHECK;

/* n indices of a data set: `n` drawn without replacement keyed by the seed (sorted by draw), or the first n.
 */
mq_status mq_dataset_sample(int64_t **indices, const struct mq_dataset *dataset, int64_t n, bool is_first,
                            uint64_t seed, struct mq_err *err) MQ_MUST_CHECK;

/* Slices of a fixed number of images, decoded ahead by threads of its own. The slices' bits do not depend on
 * the threads. Creating one costs little, and several may read one data set at once: one per epoch, the next
 * epoch's before the last one's end. */
struct mq_loader;
struct mq_loader_options {
  const int64_t *indices; /* borrowed; NULL: all images in order */
  int64_t n_indices;
  int64_t slice_images;
  unsigned n_threads;               /* 0: decode in the caller's thread when a slice is taken */
  int64_t ahead;                    /* slices decoded ahead at most; 0: twice the threads */
  const struct mq_augment *augment; /* copied; NULL: as in evaluation */
  uint64_t seed, epoch;             /* of the augmentation */
};
struct mq_slice {
  const float *pixels;   /* slice_images x H x W x C; images beyond n_valid are zeros */
  const int64_t *labels; /* -1: none */
  const int64_t *indices;
  int64_t n_valid;
};
mq_status mq_loader_create(struct mq_loader **loader, struct mq_dataset *dataset,
                           const struct mq_loader_options *options, struct mq_err *err) MQ_MUST_CHECK;
void mq_loader_destroy(struct mq_loader *loader);
int64_t mq_loader_slices(const struct mq_loader *loader);
/* Slice i; waits for it. With threads every slice must be taken once, roughly in order (within `ahead`);
 * thread safe. An image that fails fails its slice and every later one with its message. */
mq_status mq_loader_take(struct mq_slice *slice, struct mq_loader *loader, int64_t i,
                         struct mq_err *err) MQ_MUST_CHECK;
void mq_loader_give_back(struct mq_loader *loader, int64_t i);

/* Writes a data set as tar shards with one folder per class (`data make`). PNG, lossless. */
mq_status mq_dataset_write_tar(const char *path, struct mq_dataset *dataset,
                               struct mq_err *err) MQ_MUST_CHECK;

#endif
