// What a FetchReactor does, step by step; part of fetch_reactor.h.
#pragma once

#include <memory>
#include <utility>

#include "server/rpc/fetch_reactor.h"
#include "server/rpc/piece_message.h"
#include "server/rpc/status_map.h"

namespace wdelta {

template <typename Response>
void FetchReactor<Response>::Open(AdmissionQueue::Slot slot, Opener& open) {
  {
    absl::MutexLock lock(&mutex_);
    slot_.emplace(std::move(slot));
    if (cancelled_) {
      End(GoneError());
      return;
    }
  }
  absl::StatusOr<std::unique_ptr<Producer>> producer =
      open(call_, [this] { return CheckWanted(); });
  absl::MutexLock lock(&mutex_);
  if (!producer.ok()) {
    End(producer.status());
    return;
  }
  producer_ = *std::move(producer);
  producer_->SetWaker([weak = this->weak_from_this()] {
    if (const std::shared_ptr<FetchReactor> reactor = weak.lock()) reactor->Wake();
  });
  Pump();
}

template <typename Response>
void FetchReactor<Response>::Pump() {
  if (ended_ || producer_ == nullptr) return;  // Open goes on
  if (cancelled_) producer_->Cancel();
  if (write_in_flight_) {
    if (cancelled_ || !slow_client_.ok()) return;
    slow_client_ = producer_->CheckTaker();
    // Before Finish the call is there. Ends the write.
    if (!slow_client_.ok()) context_.TryCancel();
    return;
  }
  if (cancelled_) {
    End(slow_client_.ok() ? GoneError() : slow_client_);
    return;
  }
  message_.Clear();
  const absl::StatusOr<Cursor::Progress> progress = producer_->Next(message_);
  if (!progress.ok()) {
    End(progress.status());
  } else if (*progress == Cursor::Progress::kEnd) {
    End(absl::OkStatus());
  } else if (*progress == Cursor::Progress::kPiece) {
    write_in_flight_ = true;
    stats_.sent_bytes.fetch_add(message_.piece().data().size(), std::memory_order_relaxed);
    buffer_ = SerializePiece(message_, buffers_);
    this->StartWrite(&buffer_);
  }
}

template <typename Response>
void FetchReactor<Response>::End(const absl::Status& status) {
  ended_ = true;
  // The model and the place are free again before the client hears of the end.
  if (producer_ != nullptr) producer_->Cancel();
  producer_.reset();
  slot_.reset();
  call_.Done(status);
  this->Finish(ToGrpcStatus(status));
}

}  // namespace wdelta
