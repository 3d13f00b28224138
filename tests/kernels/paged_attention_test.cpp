#include "kernels/ops/paged_attention.h"

#include <cmath>

#include "kernels/kernel_test.h"
#include "kernels/kv_cache.h"

namespace krserve::kernels {
namespace {

using ops::FloatType;

// A cache with sequences of random keys and values.
struct Context {
  TestKvCache cache;
  std::vector<std::vector<uint32_t>> pages;  // of each sequence
  uint32_t heads;
};

class PagedAttentionTest : public KernelTest {
 protected:
  Context make_context(FloatType type, uint32_t dim, uint32_t heads, uint32_t kv_heads,
                       const std::vector<uint32_t>& lengths) {
    Context context{TestKvCache(type, dim, kv_heads), {}, heads};
    uint32_t start = 0;
    for (const uint32_t length : lengths) {
      const uint32_t count = (length + TestKvCache::kPageTokens - 1) / TestKvCache::kPageTokens;
      context.pages.push_back(context.cache.page_list(count, start));
      start += count;
      EXPECT_LE(start, TestKvCache::kPages);
      std::normal_distribution<float> normal;
      for (uint32_t p = 0; p < length; ++p) {
        for (uint32_t i = 0; i < 2 * kv_heads * dim; ++i) {
          context.cache.set(context.pages.back(), p, i % 2, i / 2 / dim, i / 2 % dim,
                            normal(random_));
        }
      }
    }
    return context;
  }

  struct Query {
    uint32_t sequence, position;
  };

  std::vector<float> attend(Context& context, const std::vector<Query>& queries,
                            const std::vector<float>& q, uint32_t chunk = 1u << 30) {
    Step step;
    std::vector<uint32_t> begins;
    for (const auto& list : context.pages) {
      begins.push_back(static_cast<uint32_t>(step.pages.size()));
      step.pages.insert(step.pages.end(), list.begin(), list.end());
    }
    for (const Query& query : queries) {
      step.rows.push_back({0, query.position, query.sequence, begins[query.sequence], 0});
    }
    std::vector<std::byte> params = step.bytes();
    std::vector<float> out(q.size(), std::nanf(""));
    const ops::PagedAttentionArgs args{context.cache.layout(), step.layout(), context.heads,
                                       scale(context)};
    std::vector<void*> buffers = {params.data(), const_cast<float*>(q.data()), out.data()};
    context.cache.append_segments(buffers);
    run(ops::Op::kPagedAttention, &args, buffers, chunk);
    return out;
  }

  static float scale(const Context& context) {
    return 1.0f / std::sqrt(static_cast<float>(context.cache.layout().head_dim));
  }

  static std::vector<double> reference(Context& context, Query query, const float* q,
                                       uint32_t head) {
    const ops::KvLayout& kv = context.cache.layout();
    const uint32_t kv_head = head / (context.heads / kv.kv_heads);
    const auto& pages = context.pages[query.sequence];
    std::vector<double> score(query.position + 1);
    double peak = -INFINITY, total = 0;
    for (uint32_t p = 0; p <= query.position; ++p) {
      for (uint32_t i = 0; i < kv.head_dim; ++i) {
        score[p] += double{q[i]} * context.cache.get(pages, p, 0, kv_head, i);
      }
      score[p] *= scale(context);
      peak = std::max(peak, score[p]);
    }
    std::vector<double> out(kv.head_dim);
    for (uint32_t p = 0; p <= query.position; ++p) {
      const double weight = std::exp(score[p] - peak);
      total += weight;
      for (uint32_t i = 0; i < kv.head_dim; ++i) {
        out[i] += weight * context.cache.get(pages, p, 1, kv_head, i);
      }
    }
    for (double& v : out) v /= total;
    return out;
  }

  void expect_near_reference(Context& context, const std::vector<Query>& queries,
                             const std::vector<float>& q, const std::vector<float>& out) {
    const uint32_t dim = context.cache.layout().head_dim;
    for (size_t r = 0; r < queries.size(); ++r) {
      for (uint32_t h = 0; h < context.heads; ++h) {
        const size_t at = (r * context.heads + h) * dim;
        const auto expected = reference(context, queries[r], q.data() + at, h);
        for (uint32_t i = 0; i < dim; ++i) {
          ASSERT_NEAR(out[at + i], expected[i], 5e-6)
              << "sequence " << queries[r].sequence << " position " << queries[r].position
              << " head " << h << " element " << i;
        }
      }
    }
  }
};

// A prefill of sequence 0, single rows of others, then a chunk of sequence 3.
const uint32_t kLengths[] = {70, 1, 131, 66, 3};

std::vector<uint32_t> lengths() {
  return {std::begin(kLengths), std::end(kLengths)};
}

TEST_P(PagedAttentionTest, MatchesReferenceForAllTypesAndShapes) {
  struct Shape {
    uint32_t dim, heads, kv_heads;
  };
  for (const FloatType type : {FloatType::kF32, FloatType::kF16, FloatType::kBF16}) {
    for (const Shape s : {Shape{64, 14, 2}, Shape{128, 4, 4}, Shape{80, 6, 3}, Shape{6, 2, 1}}) {
      SCOPED_TRACE(testing::Message() << "type " << static_cast<int>(type) << " dim " << s.dim);
      Context context = make_context(type, s.dim, s.heads, s.kv_heads, lengths());
      std::vector<Query> queries;
      for (const uint32_t p : {0u, 1u, 4u, 5u, 63u, 64u, 65u, 69u}) queries.push_back({0, p});
      for (const Query q : {Query{1, 0}, Query{2, 130}, Query{4, 2}}) queries.push_back(q);
      for (uint32_t p = 40; p < 66; ++p) queries.push_back({3, p});
      const std::vector<float> q = normals(queries.size() * s.heads * s.dim, 2.0f);
      expect_near_reference(context, queries, q, attend(context, queries, q));
    }
  }
}

TEST_P(PagedAttentionTest, RowsKeepTheirBitsWhateverTheStepAndTheTasks) {
  const uint32_t dim = 64, heads = 14;
  Context context = make_context(FloatType::kF16, dim, heads, 2, {200});
  std::vector<Query> prefill;
  for (uint32_t p = 0; p < 200; ++p) prefill.push_back({0, p});
  const size_t width = heads * dim;
  const std::vector<float> q = normals(prefill.size() * width);
  const std::vector<float> all = attend(context, prefill, q);
  for (const uint32_t count : {1u, 2u, 7u, 40u, 65u}) {
    for (uint32_t first = 0; first + count <= prefill.size(); first += count * 3 + 11) {
      const std::vector<Query> part(prefill.begin() + first, prefill.begin() + first + count);
      const std::vector<float> part_q(q.begin() + static_cast<ptrdiff_t>(first * width),
                                      q.begin() + static_cast<ptrdiff_t>((first + count) * width));
      const std::vector<float> out = attend(context, part, part_q, 1 + first % 3);
      ASSERT_EQ(std::memcmp(out.data(), all.data() + first * width, out.size() * 4), 0)
          << "rows " << first << " + " << count;
    }
  }
}

// Later positions of the same sequence, however broken, must not reach earlier rows.
TEST_P(PagedAttentionTest, NanInLaterPositionsStaysThere) {
  const uint32_t dim = 64, heads = 4;
  Context context = make_context(FloatType::kF32, dim, heads, 2, {90});
  std::vector<Query> queries;
  for (uint32_t p = 0; p < 90; ++p) queries.push_back({0, p});
  const std::vector<float> q = normals(queries.size() * heads * dim);
  const std::vector<float> clean = attend(context, queries, q);
  for (uint32_t i = 0; i < dim; ++i) {
    context.cache.set(context.pages[0], 70, 0, 0, i, std::nanf(""));
    context.cache.set(context.pages[0], 70, 1, 0, i, std::nanf(""));
  }
  const std::vector<float> out = attend(context, queries, q);
  const size_t width = heads * dim;
  EXPECT_EQ(std::memcmp(out.data(), clean.data(), 70 * width * 4), 0);
  for (uint32_t p = 70; p < 90; ++p) {
    EXPECT_TRUE(std::isnan(out[p * width])) << p;                          // kv head 0
    EXPECT_EQ(out[p * width + 2 * dim], clean[p * width + 2 * dim]) << p;  // kv head 1
  }
}

TEST_P(PagedAttentionTest, LargeScoresDoNotOverflow) {
  const uint32_t dim = 16, heads = 2;
  Context context = make_context(FloatType::kF32, dim, heads, 1, {150});
  const std::vector<Query> queries = {{0, 149}, {0, 10}};
  const std::vector<float> q = normals(queries.size() * heads * dim, 300.0f);
  const std::vector<float> out = attend(context, queries, q);
  for (size_t r = 0; r < queries.size(); ++r) {
    for (uint32_t h = 0; h < heads; ++h) {
      const size_t at = (r * heads + h) * dim;
      const auto expected = reference(context, queries[r], q.data() + at, h);
      for (uint32_t i = 0; i < dim; ++i) EXPECT_NEAR(out[at + i], expected[i], 2e-3);
    }
  }
}

KR_INSTANTIATE_TARGETS(PagedAttentionTest);

}  // namespace
}  // namespace krserve::kernels
