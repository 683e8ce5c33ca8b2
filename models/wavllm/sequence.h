#pragma once
// The speech-text sequence: left prompt, speech embeddings, right prompt, target (wavllm.md "Sequence").

#include <span>

#include "data/chat_template.h"
#include "tensor/tensor.h"

namespace wavllm {

/// Where every row of a batch of sequences comes from. Made outside the training step: it allocates, the step does not.
struct SequencePlan {
    Tensor text_ids;        ///< i32: all text tokens of the batch, in order
    Tensor plan;            ///< i32 [T]: row t is text_ids[plan[t]], or speech row -1 - plan[t]
    Tensor borders;         ///< i64 [S+1]
    Tensor positions;       ///< i32 [T], from 0 in every sequence
    Tensor target_rows;     ///< i32 [N]: rows that predict a target token
    Tensor targets;         ///< i32 [N]: what they should predict (EOS is the last of each sequence)
    Tensor target_borders;  ///< i64 [S+1]: which of the N belong to which sequence
    Tensor row_keys;        ///< i64 [T]: sample key * 2^20 + row, for dropout masks that do not depend on the batch
    /// What the prompt adapter reads: the different instructions of the batch end to end, which the LLM reads once each,
    /// and where each sequence finds its own among them. Undefined if no sample has one.
    Tensor instructions{};           ///< i32: token ids
    Tensor instruction_borders{};    ///< i64 [different instructions + 1]
    Tensor instruction_positions{};  ///< i32, from 0 in each
    Tensor instruction_rows{};       ///< i32: the rows of each sequence's instruction, sequence by sequence
    Tensor instruction_of{};         ///< i64 [S+1]: which of those are whose
};

/// speech_rows[i]: rows of speech of sample i (0: text only). keys[i]: the sample's own number, below 2^22. The input
/// ends before the last target token, which is only predicted. Throws ShapeError if the lists differ in length, or if only some
/// samples have an instruction.
SequencePlan plan_sequences(std::span<const PromptIds> samples, std::span<const int64_t> speech_rows,
                            std::span<const int64_t> keys);

}  // namespace wavllm
