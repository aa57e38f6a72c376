// SPDX-License-Identifier: Apache-2.0
// One training run: its folder, its data, its trainer, and the loop over epochs. It can be stopped
// after any batch and resumed bit for bit. Several processes may train together, on one machine or
// many: the recipe's batch is theirs together, rank 0 alone writes the run's folder, and what it
// writes doesn't know how many they are. One that resumes reads the folder on every rank.
//
// The run folder:
//   recipe.toml            the recipe as it was used
//   split.json             which images are query, training and database
//   metrics.csv            one line per epoch
//   events.out.tfevents.*  the same for TensorBoard, and the loss within epochs
//   last.safetensors       checkpoint: weights, optimiser, memory bank, place in the data
//   trace.json, profile.tsv   where the time of some steps went; with --profile
//   best.safetensors       weights of the best epoch by the held-out slice (without one: the last)
//   best_by_query.safetensors   the same by the query set, as the paper chose; if the recipe asks
#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "data/experiments/loader.h"
#include "engine/distributed/communicator.h"
#include "engine/files/event_file.h"
#include "engine/files/folder_lock.h"
#include "model/training/trainer.h"
#include "pipeline/listener.h"
#include "pipeline/metrics_log.h"
#include "pipeline/model_file.h"
#include "pipeline/recipe.h"
#include "pipeline/step_profile.h"

namespace hh::pipeline {

class TrainingRun {
 public:
  /// The loss of a batch, which on a GPU is known some time after it was queued.
  struct BatchLoss {
    std::unique_ptr<PendingFloat> value;  // null: none
    int images = 0;
    std::optional<std::int64_t> step;  // steps so far, of the batch that completes one
  };

  /// What a run tells and asks the program around it.
  struct Hooks {
    /// Asked after each batch that completes a step: true saves and ends the run.
    std::function<bool()> stop = [] { return false; };
    /// After each epoch, with all of metrics.csv so far.
    std::function<void(const MetricsLog&)> epoch_ended = [](const MetricsLog&) {};
    Listener listener;
    /// The processes that train together, each of which makes a TrainingRun.
    Communicator* ranks = &single_rank();
  };

  /// Starts a run in a new or empty folder. With several ranks all make one, of the same recipe and
  /// data; an error of one is the error of all (engine/distributed/together.h), here and below.
  /// Throws std::invalid_argument if it would overwrite an old one, FolderBusy
  /// (engine/files/folder_lock.h) while another run, of this process or another, writes to it.
  TrainingRun(const Recipe& recipe, const std::filesystem::path& folder, Device device,
              const Hooks& hooks);
  /// The recipe of a run folder, with `settings` over it.
  static Recipe recipe_of(const std::filesystem::path& folder,
                          const std::vector<std::string>& settings);
  /// Throws std::invalid_argument if there is no checkpoint, or it is of another network or data.
  /// Also when its data aren't what they were, unless `allow_changed_data`: then it goes on with the
  /// images that are still there, from the start of the epoch if training images are gone.
  static TrainingRun resume(const Recipe& recipe, const std::filesystem::path& folder,
                            Device device, const Hooks& hooks, bool allow_changed_data = false);

  /// Times the kernels of these steps. On a GPU the steps up to the last of them are launched
  /// kernel by kernel, since a recording has no kernels to time. Call it before run().
  void profile(ProfiledSteps steps) {
    profile_ = std::make_unique<StepProfile>(folder_, device_, steps, hooks_->listener);
    trainer_->use_graph(false);
  }
  /// Trains to the end, or until it is told to stop; true when the end was reached.
  bool run();
  /// What the run left and where, for people.
  std::string summary() const;

 private:
  /// Where the run stands between two batches, and what the epoch under way has added up.
  struct Position {
    int epoch = 0;
    std::int64_t batch = 0;                // batches of that epoch done
    double loss_sum = 0;                   // over images of the epoch
    std::int64_t images = 0;               // of the epoch
    double seconds = 0;                    // spent in the epoch's batches
    double best = -1, best_by_query = -1;  // mAP; -1: none yet
    int waited = 0;                        // evaluations since the best by held-out images
  };

  TrainingRun(const Recipe& recipe, const std::filesystem::path& folder, Device device,
              const Hooks& hooks, bool resuming, bool allow_changed_data = false);
  bool run_epochs();
  /// Whether evaluate.patience ended it.
  bool out_of_patience() const {
    return recipe_.evaluate.patience > 0 && position_.waited >= recipe_.evaluate.patience;
  }
  bool evaluates(int epoch) const {
    return epoch + 1 == recipe_.train.epochs || (epoch + 1) % recipe_.evaluate.every == 0;
  }
  /// Of the whole run, by what this process took so far.
  double seconds_left() const;
  Communicator& ranks() const { return *hooks_->ranks; }
  /// Whether this process writes the run's files.
  bool writes() const { return ranks().rank() == 0; }
  /// What each rank does by itself before training: opens the data, makes loader and trainer.
  void prepare(const Recipe& recipe, bool resuming, bool allow_changed_data);
  void choose_held_out(const Recipe& recipe);
  /// What training and its evaluations read: items of the data set.
  std::vector<std::int64_t> images_in_use(const Recipe& recipe) const;
  void make_trainer(const Recipe& recipe);
  /// The bits of `wishes` that any rank has.
  std::int64_t wishes_of_all(std::int64_t wishes) const;
  bool run_epoch();
  void end_epoch();
  void log_epoch(double loss, double held_out, double query);
  void initialise();
  /// The next slice, and how many images each rank has of its batch ([ranks]; empty: one rank).
  bool next_batch(data::Batch& batch, std::vector<std::int64_t>& slices);
  void take_batch(const data::Batch& batch, const std::vector<std::int64_t>& slices);
  /// Adds the loss that is still on its way to position_.
  void settle_loss();
  /// Throws if a loss wasn't finite.
  void check_loss() const;
  double retrieval_map(const std::vector<std::int64_t>& queries,
                       const std::vector<std::int64_t>& database, int top_k) const;
  void save_checkpoint();
  void load_checkpoint();
  ModelInfo model_info() const;
  void save_model(const std::string& file) const;
  std::int64_t steps_per_epoch() const;

  Recipe recipe_;
  std::filesystem::path folder_;
  std::optional<FolderLock> lock_;  // of the folder, for as long as the run is there; rank 0's
  Device device_;
  std::unique_ptr<const Hooks> hooks_;  // the profile refers to them wherever the run is moved
  data::Experiment experiment_;
  std::vector<std::int64_t> train_items_, held_out_items_;
  std::unique_ptr<data::Loader> loader_;
  std::unique_ptr<Trainer> trainer_;
  LearningRateSchedule schedule_;
  Position position_;
  BatchLoss unsettled_;
  bool lost_ = false;  // a loss wasn't finite
  /// Of this process.
  double batch_seconds_ = 0, evaluation_seconds_ = 0;
  std::int64_t batch_images_ = 0, evaluations_ = 0;
  std::unique_ptr<EventFile> events_;     // rank 0's
  std::unique_ptr<StepProfile> profile_;  // null: none is asked for
};

}  // namespace hh::pipeline
