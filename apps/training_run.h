// One training run: its folder, its data, its trainer, and the loop over epochs. It can be stopped after
// any batch and resumed bit for bit.
//
// The run folder:
//   recipe.toml            the recipe as it was used
//   split.json             which images are query, training and database
//   metrics.csv            one line per epoch
//   events.out.tfevents.*  the same for TensorBoard
//   last.safetensors       checkpoint: weights, optimiser, memory bank, place in the data
//   best.safetensors       weights of the best epoch by the held-out slice (without one: the last)
//   best_by_query.safetensors   the same by the query set, as the paper chose; if the recipe asks
#pragma once
#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "apps/encoder.h"
#include "apps/recipe.h"
#include "data/loader.h"
#include "engine/event_file.h"
#include "model/trainer.h"

namespace hh::apps {

class TrainingRun {
 public:
  /// Starts a run in a new or empty folder, or continues the one that lies there.
  /// Throws std::invalid_argument if a new run would overwrite an old one.
  TrainingRun(const Recipe& recipe, const std::filesystem::path& folder, Device device);
  static TrainingRun resume(const std::filesystem::path& folder, Device device,
                            const std::vector<std::string>& settings);

  /// Trains to the end, or until stop_requested(); true when the end was reached.
  bool run();

 private:
  /// Where the run stands between two batches, and what the epoch under way has added up.
  struct Position {
    int epoch = 0;
    std::int64_t batch = 0;    // batches of that epoch done
    double loss_sum = 0;       // over images of the epoch
    std::int64_t images = 0;   // of the epoch
    double seconds = 0;        // spent in the epoch's batches
    double best = -1, best_by_query = -1;  // mAP
  };

  TrainingRun(const Recipe& recipe, const std::filesystem::path& folder, Device device,
              bool resuming);
  bool run_epoch();
  void end_epoch();
  double held_out_map();
  double query_map();
  void save_checkpoint();
  void load_checkpoint();
  void save_model(const std::string& file) const;
  std::int64_t steps_per_epoch() const;

  Recipe recipe_;
  std::filesystem::path folder_;
  Device device_;
  data::Experiment experiment_;
  std::vector<std::int64_t> train_items_, held_out_items_;
  std::unique_ptr<data::Loader> loader_;
  std::unique_ptr<Trainer> trainer_;
  LearningRateSchedule schedule_;
  Position position_;
  std::unique_ptr<EventFile> events_;
};

}  // namespace hh::apps
