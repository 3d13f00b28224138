// generate, cancel, tokenize, detokenize.
#include <fmt/format.h>

#include "server/json_rpc/methods.h"
#include "server/openai/completion_request.h"
#include "server/openai/fields.h"
#include "text/tokenizer.h"

namespace krserve::server::rpc {
namespace {

ModelPtr model_of(Session& session, const CallPtr& call) {
  return session.models().find(Fields(call->params()).string("model").value_or(""));
}

// Runs `work` with the model's engine on the text thread and answers with what it returns.
template <class Work>
void answer_with_engine(Session& session, const CallPtr& call, Work work) {
  const ModelPtr model = model_of(session, call);
  (void)model->use_ready();
  session.text_worker().post(call->bytes(), [model, call, work] {
    try {
      call->result(work(*model->use_ready(), call->params()));
    } catch (...) {
      call->error_from_exception();
    }
  });
}

OrderedJson tokens_of(const engine::Engine& engine, const Json& params) {
  const std::vector<int32_t> tokens = plan_tokens(engine, params);
  return {{"tokens", tokens}, {"count", tokens.size()}};
}

OrderedJson text_of(const engine::Engine& engine, const Json& params) {
  const Fields fields(params);
  fields.require("tokens");
  const std::vector<int32_t> tokens = parse_token_ids(*fields.array("tokens"), "tokens");
  const uint32_t vocab_size = engine.model().vocab_size;
  for (const int32_t token : tokens) {
    if (static_cast<uint32_t>(token) < vocab_size) continue;
    throw invalid_value("tokens", fmt::format("token id {} is outside the vocabulary of {} tokens.",
                                              token, vocab_size));
  }
  const bool skip = fields.boolean("skip_special_tokens").value_or(true);
  return {{"text", engine.tokenizer().decode(tokens, skip)}};
}

}  // namespace

void generate(Session& session, const CallPtr& call) {
  session.refuse_while_draining();
  const ModelPtr model = model_of(session, call);
  (void)model->use_ready();
  const GenerationPtr generation = session.generations().open(call, model, session.writer());
  try {
    session.text_worker().post(call->bytes(), [generation] { generation->start(); });
  } catch (...) {
    session.generations().erase(call->id());
    throw;
  }
}

void cancel(Session& session, const CallPtr& call) {
  const Json& id = Fields(call->params()).require("request");
  if (!id.is_string() && !id.is_number_integer()) {
    throw wrong_type("request", "a request's id: a string or an integer", id);
  }
  const GenerationPtr generation = session.generations().find(id);
  call->result({{"cancelled", generation != nullptr && generation->cancel()}});
}

void tokenize(Session& session, const CallPtr& call) {
  answer_with_engine(session, call, tokens_of);
}

void detokenize(Session& session, const CallPtr& call) {
  answer_with_engine(session, call, text_of);
}

}  // namespace krserve::server::rpc
