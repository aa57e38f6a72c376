/* SPDX-License-Identifier: Apache-2.0 */
/* HybridHash as a library: images to binary codes, an index of codes, their evaluation, training.
 *
 * A function that can fail returns a status: HH_OK, or what went wrong, of which hh_last_error()
 * has the text (one line, with the value, the limit and the cure). No exception, signal or exit
 * leaves the library, and it prints nothing: hh_set_log() takes what it has to say.
 *
 * Threads. Every function may be called from any thread. Calls on one model, and calls on models on
 * one GPU, are taken one after the other; searches of one index run side by side, and a change of
 * it is seen by the searches that begin after it. What a function returned by pointer belongs to
 * the handle, and lives until that is closed. A handle is closed when no call uses it any more. A
 * callback runs on its call's thread; asking there for what that call holds (its model, another
 * training, its GPU) is HH_INVALID_ARGUMENT. Handlers of signals that may arrive on threads which
 * call encode, export or train need SA_ONSTACK and an alternate stack: oneDNN keeps data where a
 * handler on the thread's own stack would write.
 *
 * What the system says by a signal comes to the program as to any other: SIGXFSZ past its limit of a
 * file's size (ignored, it is HH_DISK_FULL), SIGBUS when another program cuts a file of an open index
 * short, which is mapped. The library itself replaces files and never cuts one.
 *
 * Structs of options begin with their size, so that a program built against an older header keeps
 * its meaning: start from HH_..._INIT. A null pointer in place of options means the same. Sizes are
 * numbers of elements, strides are bytes. Text is UTF-8 (paths: the bytes of the file system).
 *
 * A code of B bits is ceil(B / 8) bytes: bit j is byte[j / 8] >> (j % 8) & 1, 1 for a positive
 * output of the network; bits past the last one are 0. docs/api.md
 */
#ifndef HYBRIDHASH_H
#define HYBRIDHASH_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define HH_API __attribute__((visibility("default")))
#else
#define HH_API
#endif

/* ------------------------------------------------------------------ errors, log, whole process */

typedef enum hh_status {
  HH_OK = 0,
  HH_INVALID_ARGUMENT = 1, /* what the caller gave makes no sense, or doesn't fit */
  HH_BAD_FILE = 2,         /* a file is missing, broken, or of another kind */
  HH_BAD_IMAGE = 3,        /* an image can't be read */
  HH_DEVICE_ERROR = 4,     /* no such device here, or it failed */
  HH_OUT_OF_MEMORY = 5,
  HH_BUSY = 6, /* worth another try: another process writes to the index or the run's folder, or the
                     * system has no thread, no descriptor, or an error of a disk, for the moment */
  HH_DISK_FULL = 7, /* what was to be written wasn't; what was there is as it was */
  HH_STOPPED = 8,   /* a callback asked for it */
  HH_INTERNAL = 9   /* an error of the library itself: please report it */
} hh_status;

/* "0.1.0", of the library that runs. */
HH_API const char* hh_version(void);
/* The text of this thread's last call that failed; "" before the first. Valid until the next. */
HH_API const char* hh_last_error(void);
/* "bad file". */
HH_API const char* hh_status_name(hh_status status);

typedef enum hh_log_level { HH_LOG_DEBUG = 0, HH_LOG_INFO = 1, HH_LOG_WARNING = 2 } hh_log_level;
/* Takes a line of text. Called from any thread, one call at a time. */
typedef void (*hh_log_function)(hh_log_level level, const char* text, void* user);
/* NULL: nothing is told, as at the start. For the whole process. */
HH_API hh_status hh_set_log(hh_log_function log, void* user);

/* CPU threads of everything that computes, for the whole process; 0: one per hardware thread, as
 * at the start. Not while another call computes. */
HH_API hh_status hh_set_threads(int threads);
/* Those in use. */
HH_API int hh_threads(void);

/* ------------------------------------------------------------------------------------- models */

typedef struct hh_model hh_model;

typedef struct hh_model_options {
  size_t size;
  const char* device; /* "cpu" (NULL), "cuda", "cuda:1", "auto" */
  const char*
      dtype;   /* what the network computes in: "f32" (NULL), "bf16", "int8" (CPU), "f16" (GPU) */
  int threads; /* at most so many for this model; 0: hh_threads() */
} hh_model_options;
#define HH_MODEL_OPTIONS_INIT \
  { sizeof(hh_model_options), NULL, NULL, 0 }

/* A model file or a checkpoint, with its transform of images. */
HH_API hh_status hh_model_open(const char* path, const hh_model_options* options, hh_model** model);
HH_API void hh_model_close(hh_model* model); /* NULL: nothing happens */

HH_API int hh_model_bits(const hh_model* model);
HH_API int hh_model_image_size(const hh_model* model); /* side of what the network sees, pixels */
HH_API int hh_model_channels(const hh_model* model);   /* 1 or 3 */
HH_API const char* hh_model_hash(
    const hh_model* model); /* of the weights: 16 hexadecimal digits, and "-int8" */
/* 1: of image files the EXIF orientation is applied, as it was in training; 0: it isn't. What the
 * caller decodes is taken as it is. */
HH_API int hh_model_exif_orientation(const hh_model* model);
HH_API int hh_model_class_count(const hh_model* model); /* of the classes' names; 0: unknown */
HH_API const char* hh_model_class_name(const hh_model* model, int index); /* NULL: no such class */

/* An 8-bit image in the caller's memory, of any size; the model's transform is applied. Images that
 * lie one behind the other as [n, S, S, C] aren't copied on the CPU where the transform changes
 * nothing in them, as of Fashion-MNIST or CIFAR-10 at its own size. Of photographs it does: it
 * resizes the shorter side to 8/7 of S and cuts out the middle. `hybridhash info` says which. */
typedef struct hh_image {
  const uint8_t* pixels;                            /* of the first row, column and channel */
  int32_t height, width;                            /* >= 1 */
  int32_t channels;                                 /* 1 (grey) or 3 (RGB) */
  int64_t row_stride, pixel_stride, channel_stride; /* may be negative */
} hh_image;

typedef struct hh_encode_options {
  size_t size;
  int batch;    /* images at once, from 1; default 256 */
  int workers;  /* threads that read and transform images; 0: none but the caller's; default 1 */
  int skip_bad; /* not 0: files that can't be read are left out (and logged) */
  int keep_outputs;      /* of hh_model_encode_source: keep the real-valued outputs too */
  double max_megapixels; /* of an image file; 0: the limit that models have */
  /* First with 0 done, then after each batch; a result that isn't 0 ends the call with HH_STOPPED.
   * NULL: none. */
  int (*progress)(int64_t done, int64_t total, void* user);
  void* user;
} hh_encode_options;
#define HH_ENCODE_OPTIONS_INIT \
  { sizeof(hh_encode_options), 256, 1, 0, 0, 0.0, NULL, NULL }

/* Codes [count, ceil(bits / 8)] and real-valued outputs [count, bits] of images; either may be
 * NULL. */
HH_API hh_status hh_model_encode(hh_model* model, const hh_image* images, int64_t count,
                                 const hh_encode_options* options, uint8_t* codes, float* outputs);

/* What the network sees of images, pixels [count, S, S, C], by the model's transform: what a graph of
 * hh_model_export_onnx() takes. */
HH_API hh_status hh_model_transform(hh_model* model, const hh_image* images, int64_t count,
                                    uint8_t* pixels);

/* How many images the model's calls so far copied before the network saw them, and how many they
 * read where they lay. Either may be NULL. */
HH_API void hh_model_copies(const hh_model* model, int64_t* copied, int64_t* in_place);

typedef struct hh_onnx_options {
  size_t size;
  int64_t batch; /* images at once; 0: any number */
  int opset;     /* version of ONNX's operations, 17 to 20; default 17 */
  /* "pixels" (NULL): uint8 [n, S, S, C], what the model's transform makes of an image; "normalised":
   * float32 [n, C, S, S]. */
  const char* inputs;
  /* "both" (NULL): "outputs", float32 [n, bits], and "codes", uint8 [n, ceil(bits / 8)]; or one. */
  const char* outputs;
} hh_onnx_options;
#define HH_ONNX_OPTIONS_INIT \
  { sizeof(hh_onnx_options), 0, 17, NULL, NULL }

/* The network as an ONNX file, for ONNX Runtime, OpenVINO and others. HH_BAD_FILE where the library
 * was built without ONNX. */
HH_API hh_status hh_model_export_onnx(hh_model* model, const char* path,
                                      const hh_onnx_options* options);

/* -------------------------------------------------------------------- codes and what is known */

/* Items: codes with ids, and what may be known of them: labels, names, metadata, outputs. */
typedef struct hh_codes hh_codes;

typedef struct hh_codes_data {
  size_t size;
  int bits;               /* 1 to 512 */
  int64_t count;          /* items, n */
  const uint8_t* codes;   /* [n, ceil(bits / 8)] */
  const int64_t* ids;     /* [n]; NULL: 0, 1, ... */
  int32_t classes;        /* 0: no labels; else 1 to 65536 */
  const uint64_t* labels; /* [n, ceil(classes / 64)]: class c is bit c % 64 of word c / 64 */
  const char* const* class_names; /* [classes] or NULL */
  const char* const* names;       /* [n], paths or names, or NULL */
  const char* const* metadata;    /* [n], a JSON object each or "", or NULL */
  const float* outputs;           /* [n, bits] or NULL */
  const char* model_hash;         /* of the model that made them, or NULL */
} hh_codes_data;
#define HH_CODES_DATA_INIT \
  { sizeof(hh_codes_data), 0, 0, NULL, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL }

/* Copies everything. */
HH_API hh_status hh_codes_create(const hh_codes_data* data, hh_codes** codes);
/* A code file, an .npy of uint8 [n, bits / 8], a FAISS binary index, or a .csv. `bits`: of a code,
 * where the file knows bytes alone; 0: as many as it has. */
HH_API hh_status hh_codes_read(const char* path, int bits, hh_codes** codes);
/* By the ending: .npy, .faiss, .csv, .copy (pgvector), .jsonl (Milvus), else a code file. */
HH_API hh_status hh_codes_write(const hh_codes* codes, const char* path);
HH_API void hh_codes_close(hh_codes* codes);
/* All of it, by pointers into the handle: names and metadata have entries for all items or are
 * NULL. `data->size` must be set. */
HH_API hh_status hh_codes_view(const hh_codes* codes, hh_codes_data* data);

/* Images in files. Exactly one of the kinds is given. */
typedef struct hh_source {
  size_t size;
  const char* const* files; /* image files */
  int64_t file_count;
  const char* folder;       /* all images of a folder, at any depth */
  const char* class_folder; /* the same, with a sub-folder per class */
  const char* list;         /* a list file: path l_1 ... l_n a line */
  const char* image_root;   /* what the list's paths start from; NULL: the working directory */
  const char* part;         /* query, train, database or all, of the model's own data */
} hh_source;
#define HH_SOURCE_INIT \
  { sizeof(hh_source), NULL, 0, NULL, NULL, NULL, NULL, NULL }

/* Codes with names and labels. */
HH_API hh_status hh_model_encode_source(hh_model* model, const hh_source* source,
                                        const hh_encode_options* options, hh_codes** codes);

/* ------------------------------------------------------------------------------------ indexes */

/* Codes and items in a folder that grows and shrinks; exact search. A handle sees the index as it
 * was opened, and its own changes; hh_index_refresh() those of other processes. */
typedef struct hh_index hh_index;

/* Makes an index of these items (there may be none: an empty index). With `overwrite` an index that
 * is there is replaced when the new one is complete. `keep_outputs`: for re-ranking. */
HH_API hh_status hh_index_build(const char* folder, const hh_codes* codes, int overwrite,
                                int keep_outputs);
HH_API hh_status hh_index_open(const char* folder, hh_index** index);
HH_API void hh_index_close(hh_index* index);
HH_API hh_status hh_index_refresh(hh_index* index);

HH_API int hh_index_bits(const hh_index* index);
HH_API int64_t hh_index_count(const hh_index* index); /* items that aren't deleted */
/* Of the model that made the codes; "" if unknown. */
HH_API const char* hh_index_model_hash(const hh_index* index);

typedef enum hh_same_id {
  HH_SAME_ID_REFUSE = 0,
  HH_SAME_ID_REPLACE = 1,
  HH_SAME_ID_RENUMBER = 2 /* all of them get new ids */
} hh_same_id;

/* Changes last when the call returns HH_OK; otherwise the index is as it was. `replaced` and
 * `deleted` may be NULL. */
HH_API hh_status hh_index_add(hh_index* index, const hh_codes* codes, hh_same_id same_id,
                              int64_t* replaced);
HH_API hh_status hh_index_delete(hh_index* index, const int64_t* ids, int64_t count,
                                 int64_t* deleted);
HH_API hh_status hh_index_compact(hh_index* index);

/* Items by their ids, in that order. HH_INVALID_ARGUMENT for an id that isn't there. */
HH_API hh_status hh_index_items(hh_index* index, const int64_t* ids, int64_t count,
                                hh_codes** items);
/* All items that pass all filters (none: all), in order of their rows:
 *   "label=cat"  "label=cat,dog" (either)  "label!=cat"   by a class's name or number
 *   "path=a/b.jpg"  "path~holiday*"     ~ is a pattern of * ? [...]; of paths only
 *   "id>=100"                           = != < <= > >=
 *   "year<2020"  "camera.name=X100"     members of the metadata
 * Blanks around field and value don't count. HH_INVALID_ARGUMENT for a class that isn't there and a
 * member that no item has. */
HH_API hh_status hh_index_select(hh_index* index, const char* const* filters, int64_t filter_count,
                                 hh_codes** items);

typedef struct hh_queries {
  size_t size;
  int64_t count;
  const uint8_t* codes; /* [count, ceil(bits / 8)]; or NULL, and ids are given */
  const int64_t* ids;   /* [count], items of the index; NULL: queries from elsewhere */
  const float* outputs; /* [count, bits], for rerank and "asymmetric"; NULL: unknown */
} hh_queries;
#define HH_QUERIES_INIT \
  { sizeof(hh_queries), 0, NULL, NULL, NULL }

typedef struct hh_search_options {
  size_t size;
  int64_t k;  /* so many of the nearest; default 10 */
  int radius; /* not negative: in place of them all at most so far away; default -1 */
  const char* const* filters; /* as of hh_index_select() */
  int64_t filter_count;
  int exclude_self;   /* not 0: a query by id isn't a result of itself */
  int64_t rerank;     /* so many of the nearest are put in order of the outputs; 0: none */
  const char* method; /* "auto" (NULL), "scan", "multi-index", "asymmetric" */
  int threads;        /* at most so many; 0: hh_threads() */
} hh_search_options;
#define HH_SEARCH_OPTIONS_INIT \
  { sizeof(hh_search_options), 10, -1, NULL, 0, 0, 0, NULL, 0 }

/* Results of query q are entries offsets[q] to offsets[q + 1] - 1, by distance, then by the order
 * in which items were added. Distances are whole numbers of bits, but after rerank and for
 * "asymmetric". */
typedef struct hh_hits hh_hits;
typedef struct hh_hits_data {
  size_t size;
  int64_t count;          /* queries */
  const int64_t* offsets; /* [count + 1] */
  const int64_t* ids;     /* [offsets[count]] */
  const float* distances; /* the same */
  const char* method;     /* what was done */
  double seconds;         /* that the search took */
} hh_hits_data;
#define HH_HITS_DATA_INIT \
  { sizeof(hh_hits_data), 0, NULL, NULL, NULL, NULL, 0.0 }

HH_API hh_status hh_index_search(hh_index* index, const hh_queries* queries,
                                 const hh_search_options* options, hh_hits** hits);
HH_API hh_status hh_hits_view(const hh_hits* hits, hh_hits_data* data);
HH_API void hh_hits_close(hh_hits* hits);

/* The k nearest into the caller's arrays [count, k]; -1 where there are fewer. */
HH_API hh_status hh_index_nearest(hh_index* index, const uint8_t* codes, int64_t count, int64_t k,
                                  int64_t* ids, int32_t* distances);

/* --------------------------------------------------------------------------------- evaluation */

typedef struct hh_evaluate_options {
  size_t size;
  int64_t top_k;         /* ranks that count for mAP; 0: all */
  int radius;            /* of the precision within it; default 2 */
  int bootstrap_samples; /* of the intervals; 0: none; default 1000 */
  double confidence;     /* default 0.95 */
  uint64_t seed;
} hh_evaluate_options;
#define HH_EVALUATE_OPTIONS_INIT \
  { sizeof(hh_evaluate_options), 0, 2, 1000, 0.95, 0 }

/* Mean average precision by how items at the same distance are ordered: as they were added (what
 * most programs report), by the expected value over all orders, at best, at worst. */
typedef struct hh_evaluation {
  size_t size;
  int64_t queries, database;
  int bits;
  int64_t top_k;
  double map_stable, map_expected, map_best, map_worst;
  double map_low, map_high; /* interval of map_stable; both 0 without samples */
  double precision_within_radius, recall_within_radius;
  int64_t without_relevant; /* queries with nothing relevant in the database */
} hh_evaluation;

/* Similar is what shares a class; classes are matched by name where both sides name them.
 * `result->size` must be set. */
HH_API hh_status hh_evaluate(const hh_codes* queries, const hh_codes* database,
                             const hh_evaluate_options* options, hh_evaluation* result);

/* ----------------------------------------------------------------------------------- training */

typedef struct hh_epoch {
  size_t size;
  int epoch, epochs; /* the one that ended, from 1, of so many */
  double loss, learning_rate, images_per_second;
  double map; /* of the query set, or of the held-out images; -1: not evaluated */
} hh_epoch;

typedef struct hh_train_options {
  size_t size;
  const char* device;          /* as of models */
  const char* const* settings; /* "train.epochs=3", over the recipe */
  int64_t setting_count;
  int resume;             /* not 0: go on with the run that is in the folder */
  int allow_changed_data; /* not 0: with what is still there */
  /* Each may be NULL. `stop`: asked after each step; not 0 saves and ends with HH_STOPPED. */
  int (*stop)(void* user);
  void (*epoch)(const hh_epoch* epoch, void* user);
  void (*progress)(const char* what, int64_t done, int64_t total, const char* detail, void* user);
  void (*message)(const char* text, int is_warning, void* user);
  void* user;
} hh_train_options;
#define HH_TRAIN_OPTIONS_INIT \
  { sizeof(hh_train_options), NULL, NULL, 0, 0, 0, NULL, NULL, NULL, NULL, NULL }

/* Trains by a recipe (a TOML file; NULL: the defaults, which are Fashion-MNIST's from a Debian
 * package, so set data.protocol and data.path; or with `resume` the run's own) into a
 * folder, which then holds best.safetensors, metrics.csv and more. One at a time in a process. */
HH_API hh_status hh_train(const char* recipe, const char* folder, const hh_train_options* options);

#ifdef __cplusplus
}
#endif

#endif
