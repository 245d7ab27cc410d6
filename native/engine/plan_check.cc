#include "engine/plan_check.h"

#include <algorithm>
#include <set>

#include "core/error.h"
#include "engine/sampling_check.h"
#include "kv/kv_layout.h"

namespace skein {
namespace {

[[noreturn]] void Refuse(const std::string& message) { throw Error("INVALID_REQUEST", message); }

using Long = long long;

// A slot as it will be once the plan's releases, new sequences and blocks are applied.
struct SlotView {
  bool is_live = false;
  bool is_scheduled = false;
  bool samples = false, is_masked = false;
  int64_t num_known = 0, num_computed = 0, num_blocks = 0;
  const NewSequence* fresh = nullptr;  // started by this plan
};

class PlanChecker {
 public:
  PlanChecker(const StepPlan& plan, const EngineLimits& limits, const SequenceTable& sequences,
              const PictureStore& pictures)
      : plan_(plan), limits_(limits), sequences_(sequences), pictures_(pictures) {}

  void Run() {
    BuildViews();
    CheckReleased();
    CheckEncodeItems();
    for (size_t i = 0; i < plan_.new_sequences.size(); ++i) CheckNewSequence(i);
    CheckNewBlocks();
    CheckScheduled();
    CheckMasks();
  }

 private:
  void BuildViews() {
    views_.resize(static_cast<size_t>(sequences_.size()));
    for (int64_t slot = 0; slot < sequences_.size(); ++slot) {
      const Sequence& sequence = sequences_.at(slot);
      SlotView& view = views_[static_cast<size_t>(slot)];
      view.is_live = sequence.is_live;
      view.num_known = sequence.num_known();
      view.num_computed = sequence.num_computed;
      view.num_blocks = static_cast<int64_t>(sequence.blocks.size());
    }
  }

  SlotView& View(const char* field, size_t index, int32_t slot) {
    if (slot < 0 || slot >= sequences_.size()) {
      Refuse(Format("%s[%zu]: slot %d is not below maxNumSequences %lld", field, index, slot,
                    Long{sequences_.size()}));
    }
    return views_[static_cast<size_t>(slot)];
  }

  void CheckReleased() {
    for (size_t i = 0; i < plan_.released_slots.size(); ++i) {
      SlotView& view = View("releasedSlots", i, plan_.released_slots[i]);
      if (!view.is_live) {
        Refuse(Format("releasedSlots[%zu]: slot %d holds no sequence", i, plan_.released_slots[i]));
      }
      view = {};
    }
    for (size_t i = 0; i < plan_.released_pictures.size(); ++i) {
      const uint32_t id = plan_.released_pictures[i];
      if (pictures_.Find(id) == nullptr || !released_pictures_.insert(id).second) {
        Refuse(Format("releasedPictures[%zu]: picture %u is not resident", i, id));
      }
    }
  }

  // Null when the picture is not resident after the plan's releases.
  const Picture* Resident(uint32_t id) const {
    return released_pictures_.contains(id) ? nullptr : pictures_.Find(id);
  }

  void CheckEncodeItems() {
    std::set<int32_t> claimed;
    for (size_t i = 0; i < plan_.encode_items.size(); ++i) {
      const EncodeItem& item = plan_.encode_items[i];
      const Picture* picture = Resident(item.picture_id);
      if (picture == nullptr) {
        Refuse(Format("encodeItems[%zu]: picture %u is not resident", i, item.picture_id));
      }
      if (item.tile_start < 0 || item.tile_start >= item.tile_end ||
          item.tile_end > picture->num_tiles()) {
        Refuse(Format("encodeItems[%zu]: tiles %d..%d of a picture of %lld", i, item.tile_start,
                      item.tile_end, Long{picture->num_tiles()}));
      }
      for (int32_t tile = item.tile_start; tile < item.tile_end; ++tile) {
        const int32_t slot = picture->tile_slots[static_cast<size_t>(tile)];
        if (picture->is_encoded[static_cast<size_t>(tile)] || !claimed.insert(slot).second) {
          Refuse(
              Format("encodeItems[%zu]: tile %d of picture %u is encoded already, or shares its "
                     "tile slot %d",
                     i, tile, item.picture_id, slot));
        }
        const int64_t owner = pictures_.OwnerOf(slot);
        if (owner >= 0 && !released_pictures_.contains(static_cast<uint32_t>(owner))) {
          Refuse(Format("encodeItems[%zu]: tile slot %d holds an output of picture %lld", i, slot,
                        Long{owner}));
        }
      }
    }
  }

  void CheckNewSequence(size_t index) {
    const NewSequence& fresh = plan_.new_sequences[index];
    const std::string path = Format("newSequences[%zu]", index);
    SlotView& view = View("newSequences", index, fresh.slot);
    if (view.is_live) Refuse(Format("%s.slot: slot %d is taken", path.c_str(), fresh.slot));
    const auto known = static_cast<int64_t>(fresh.token_ids.size());
    if (known < 1 || known > limits_.max_model_length) {
      Refuse(Format("%s.tokenIds: %lld tokens, must be 1 to maxModelLength %lld", path.c_str(),
                    Long{known}, Long{limits_.max_model_length}));
    }
    for (const int32_t id : fresh.token_ids) {
      if (id < 0 || id >= limits_.vocab_size) {
        Refuse(Format("%s.tokenIds: %d is not below the vocabulary's %lld", path.c_str(), id,
                      Long{limits_.vocab_size}));
      }
    }
    if (fresh.num_prompt_tokens < 1 || fresh.num_prompt_tokens > known) {
      Refuse(Format("%s.numPromptTokens: %lld of %lld tokens", path.c_str(),
                    Long{fresh.num_prompt_tokens}, Long{known}));
    }
    if (fresh.num_computed_tokens < 0 || fresh.num_computed_tokens >= known) {
      Refuse(Format("%s.numComputedTokens: %lld of %lld tokens; one at least must be left",
                    path.c_str(), Long{fresh.num_computed_tokens}, Long{known}));
    }
    CheckSamplingParams(path + ".sampling", fresh.sampling, limits_.vocab_size,
                        limits_.max_top_logprobs);
    CheckPlacements(path, fresh);
    view = {};
    view.is_live = true;
    view.num_known = known;
    view.num_computed = fresh.num_computed_tokens;
    view.fresh = &fresh;
  }

  void CheckPlacements(const std::string& path, const NewSequence& fresh) {
    int64_t free_from = 0;
    for (size_t i = 0; i < fresh.pictures.size(); ++i) {
      const PicturePlacement& placement = fresh.pictures[i];
      const Picture* picture = Resident(placement.picture_id);
      if (picture == nullptr) {
        Refuse(Format("%s.pictures[%zu]: picture %u is not resident", path.c_str(), i,
                      placement.picture_id));
      }
      const int64_t end = placement.first_position + picture->num_tiles() * limits_.tokens_per_tile;
      if (placement.first_position < free_from ||
          end > static_cast<int64_t>(fresh.token_ids.size())) {
        Refuse(
            Format("%s.pictures[%zu]: positions %lld..%lld overlap the one before or pass the "
                   "end of the tokens",
                   path.c_str(), i, Long{placement.first_position}, Long{end}));
      }
      free_from = end;
    }
  }

  void CheckNewBlocks() {
    const std::vector<int32_t>& pairs = plan_.new_blocks;
    if (pairs.size() % 2 != 0) Refuse("newBlocks: must be pairs of slot and block");
    const int64_t max_blocks = BlocksFor(limits_.max_model_length, limits_.block_size);
    for (size_t i = 0; i < pairs.size(); i += 2) {
      SlotView& view = View("newBlocks", i, pairs[i]);
      const int32_t block = pairs[i + 1];
      if (!view.is_live) Refuse(Format("newBlocks[%zu]: slot %d holds no sequence", i, pairs[i]));
      if (block < 0 || block >= limits_.num_kv_blocks) {
        Refuse(Format("newBlocks[%zu]: block %d is not below %lld", i + 1, block,
                      Long{limits_.num_kv_blocks}));
      }
      if (++view.num_blocks > max_blocks) {
        Refuse(Format("newBlocks[%zu]: slot %d has more than the %lld blocks of maxModelLength", i,
                      pairs[i], Long{max_blocks}));
      }
    }
    CheckBlocksAreDistinct();
  }

  // No block twice in one sequence: two positions would share a slot.
  void CheckBlocksAreDistinct() {
    std::vector<std::pair<int32_t, int32_t>> pairs;
    for (size_t i = 0; i < plan_.new_blocks.size(); i += 2) {
      pairs.emplace_back(plan_.new_blocks[i], plan_.new_blocks[i + 1]);
    }
    std::sort(pairs.begin(), pairs.end());
    for (size_t i = 0; i < pairs.size(); ++i) {
      const auto [slot, block] = pairs[i];
      bool is_double = i > 0 && pairs[i - 1] == pairs[i];
      if (!is_double && views_[static_cast<size_t>(slot)].fresh == nullptr) {
        const std::vector<int32_t>& held = sequences_.at(slot).blocks;
        is_double = std::find(held.begin(), held.end(), block) != held.end();
      }
      if (is_double) Refuse(Format("newBlocks: slot %d holds block %d already", slot, block));
    }
  }

  void CheckScheduled() {
    const std::vector<int32_t>& slots = plan_.scheduled_slots;
    if (slots.size() != plan_.scheduled_tokens.size()) {
      Refuse(Format("scheduledTokens: %zu entries for %zu slots", plan_.scheduled_tokens.size(),
                    slots.size()));
    }
    int64_t total = 0;
    for (size_t i = 0; i < slots.size(); ++i) {
      SlotView& view = View("scheduledSlots", i, slots[i]);
      const int64_t tokens = plan_.scheduled_tokens[i];
      if (!view.is_live || view.is_scheduled) {
        Refuse(Format("scheduledSlots[%zu]: slot %d holds no sequence, or is scheduled twice", i,
                      slots[i]));
      }
      view.is_scheduled = true;
      const int64_t end = view.num_computed + tokens;
      if (tokens < 1 || end > view.num_known || end > limits_.max_model_length) {
        Refuse(
            Format("scheduledTokens[%zu]: %lld tokens from position %lld; %lld are known, "
                   "maxModelLength is %lld",
                   i, Long{tokens}, Long{view.num_computed}, Long{view.num_known},
                   Long{limits_.max_model_length}));
      }
      if (view.num_blocks * limits_.block_size < end) {
        Refuse(Format("newBlocks: slot %d has %lld blocks of %lld tokens, needs room for %lld",
                      slots[i], Long{view.num_blocks}, Long{limits_.block_size}, Long{end}));
      }
      CheckPictureRows(i, slots[i], view, end);
      view.samples = end == view.num_known;
      total += tokens;
    }
    CheckGraphBucket(slots.size(), total);
    if (total > limits_.max_step_tokens) {
      Refuse(Format("scheduledTokens: %lld in all, maxStepTokens is %lld", Long{total},
                    Long{limits_.max_step_tokens}));
    }
  }

  // A mask is for a token that this step samples, and for each of the rank's tokens it has a bit.
  void CheckMasks() {
    for (size_t i = 0; i < plan_.masked_slots.size(); ++i) {
      SlotView& view = View("maskedSlots", i, plan_.masked_slots[i]);
      if (!view.samples || view.is_masked) {
        Refuse(Format("maskedSlots[%zu]: slot %d samples nothing in this step, or is masked twice",
                      i, plan_.masked_slots[i]));
      }
      view.is_masked = true;
    }
    const size_t words =
        plan_.masked_slots.size() * static_cast<size_t>(MaskWords(limits_.vocab_valid_rows));
    if (plan_.masks.size() != words) {
      Refuse(Format("masks: %zu words for %zu slots and %lld tokens", plan_.masks.size(),
                    plan_.masked_slots.size(), Long{limits_.vocab_valid_rows}));
    }
  }

  // A recorded step has one row a sequence, and rows enough for the bucket.
  void CheckGraphBucket(size_t num_sequences, int64_t total) {
    const int64_t bucket = plan_.graph_bucket;
    if (bucket == 0) return;
    const int64_t most = std::min(limits_.max_step_tokens, sequences_.size());
    const auto sequences = static_cast<int64_t>(num_sequences);
    if (bucket < 0 || bucket > most || sequences > bucket || total != sequences) {
      Refuse(
          Format("graphBucket: %lld rows for %lld tokens of %lld sequences; a bucket takes one "
                 "token a sequence and is at most %lld",
                 Long{bucket}, Long{total}, Long{sequences}, Long{most}));
    }
  }

  // Every picture row among positions num_computed .. end - 1 has its tile encoded, or encoded by
  // this plan.
  void CheckPictureRows(size_t index, int32_t slot, const SlotView& view, int64_t end) {
    const auto check = [&](uint32_t id, int64_t first, int64_t tiles) {
      const int64_t from = std::max(view.num_computed, first);
      const int64_t to = std::min(end, first + tiles * limits_.tokens_per_tile);
      if (from >= to) return;
      const Picture* picture = Resident(id);
      const int64_t last_tile = (to - 1 - first) / limits_.tokens_per_tile;
      for (int64_t t = (from - first) / limits_.tokens_per_tile; t <= last_tile; ++t) {
        if (picture != nullptr && t < picture->num_tiles() && IsEncoded(id, *picture, t)) continue;
        Refuse(
            Format("scheduledSlots[%zu]: slot %d needs tile %lld of picture %u, which is not "
                   "encoded",
                   index, slot, Long{t}, id));
      }
    };
    if (view.fresh != nullptr) {
      for (const PicturePlacement& placement : view.fresh->pictures) {
        check(placement.picture_id, placement.first_position,
              Resident(placement.picture_id)->num_tiles());
      }
    } else {
      for (const PlacedPicture& placed : sequences_.at(slot).pictures) {
        check(placed.picture_id, placed.first_position, placed.num_tiles);
      }
    }
  }

  bool IsEncoded(uint32_t id, const Picture& picture, int64_t tile) const {
    if (picture.is_encoded[static_cast<size_t>(tile)]) return true;
    return std::any_of(
        plan_.encode_items.begin(), plan_.encode_items.end(), [&](const EncodeItem& item) {
          return item.picture_id == id && item.tile_start <= tile && tile < item.tile_end;
        });
  }

  const StepPlan& plan_;
  const EngineLimits& limits_;
  const SequenceTable& sequences_;
  const PictureStore& pictures_;
  std::vector<SlotView> views_;
  std::set<uint32_t> released_pictures_;
};

}  // namespace

void CheckStepPlan(const StepPlan& plan, const EngineLimits& limits, const SequenceTable& sequences,
                   const PictureStore& pictures) {
  PlanChecker(plan, limits, sequences, pictures).Run();
}

}  // namespace skein
