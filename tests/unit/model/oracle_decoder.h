// The decoder once more, in double precision and the plainest loops, for one uncached sequence. Written from
// the formulas; shares nothing with the library but the configuration.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "model/config.h"
#include "tensor/dtype.h"

namespace nanochat::testing {

class OracleDecoder {
 public:
  using Rows = std::vector<std::vector<double>>;
  // nanochat's own tensor names; `round` is applied to weights of matrices and to what they are multiplied
  // with.
  OracleDecoder(const ModelConfig& config, std::map<std::string, std::vector<float>> tensors,
                std::function<double(double)> round)
      : config_(config), tensors_(std::move(tensors)), round_(std::move(round)) {}

  Rows logits(const std::vector<int32_t>& tokens) const {
    const ModelConfig& c = config_;
    const size_t n = tokens.size();
    Rows x(n);
    for (size_t t = 0; t < n; ++t) x[t] = normed(row("transformer.wte.weight", tokens[t], c.n_embd));
    if (c.smear_channels > 0) x = smeared(x);
    const Rows first = x;
    Rows kept;
    for (int64_t i = 0; i < c.n_layer; ++i) {
      if (c.has_residual_scalars) {
        const double a = scalar("resid_lambdas", i), b = scalar("x0_lambdas", i);
        for (size_t t = 0; t < n; ++t) {
          for (size_t d = 0; d < x[t].size(); ++d) x[t][d] = a * x[t][d] + b * first[t][d];
        }
      }
      run_block(i, tokens, x);
      if (i == c.backout_layer) kept = x;
    }
    Rows out(n);
    for (size_t t = 0; t < n; ++t) {
      if (c.backout_layer >= 0) {
        for (size_t d = 0; d < x[t].size(); ++d) x[t][d] -= scalar("backout_lambda", 0) * kept[t][d];
      }
      out[t] = times("lm_head.weight", c.vocab_size, normed(x[t]));
      for (double& z : out[t]) z = c.logit_softcap * std::tanh(z / c.logit_softcap);
    }
    return out;
  }

 private:
  double scalar(const std::string& name, int64_t i) const {
    return tensors_.at(name)[static_cast<size_t>(i)];
  }
  std::vector<double> row(const std::string& name, int64_t i, int64_t width) const {
    const auto begin = tensors_.at(name).begin() + i * width;
    return {begin, begin + width};
  }
  static double sigmoid(double z) { return 1.0 / (1.0 + std::exp(-z)); }

  std::vector<double> normed(const std::vector<double>& x) const {
    double sum = 0.0;
    for (const double v : x) sum += v * v;
    const double scale = 1.0 / std::sqrt(sum / static_cast<double>(x.size()) + config_.norm_eps);
    std::vector<double> y;
    for (const double v : x) y.push_back(v * scale);
    return y;
  }

  std::vector<double> times(const std::string& name, int64_t n, const std::vector<double>& x) const {
    const std::vector<float>& w = tensors_.at(name);
    std::vector<double> y;
    for (int64_t i = 0; i < n; ++i) {
      double sum = 0.0;
      for (size_t k = 0; k < x.size(); ++k) {
        sum += round_(w[static_cast<size_t>(i) * x.size() + k]) * round_(x[k]);
      }
      y.push_back(sum);
    }
    return y;
  }

  double gate(const std::string& name, int64_t head, int64_t channels, const std::vector<double>& x) const {
    double sum = 0.0;
    for (int64_t j = 0; j < channels; ++j)
      sum += scalar(name, head * channels + j) * x[static_cast<size_t>(j)];
    return sigmoid(sum);
  }

  Rows smeared(const Rows& x) const {
    Rows y = x;
    for (size_t t = 1; t < x.size(); ++t) {
      const double g = scalar("smear_lambda", 0) * gate("smear_gate.weight", 0, config_.smear_channels, x[t]);
      for (size_t d = 0; d < y[t].size(); ++d) y[t][d] += g * x[t - 1][d];
    }
    return y;
  }

  // Rotates, norms and scales each head of width hd.
  std::vector<double> placed(const std::vector<double>& heads, size_t position) const {
    const auto hd = static_cast<size_t>(config_.head_dim);
    std::vector<double> out;
    for (size_t h = 0; h < heads.size(); h += hd) {
      std::vector<double> y(hd);
      for (size_t j = 0; j < hd / 2; ++j) {
        const auto power = static_cast<float>(std::pow(
            config_.rope_base, static_cast<double>(static_cast<float>(2 * j) / static_cast<float>(hd))));
        const float angle = static_cast<float>(position) * (1.0F / power);
        const bool bf16 = config_.rope_table_dtype == DType::bf16;
        const auto stored = [&](double v) {
          return bf16 ? static_cast<double>(float_from_bf16(bf16_from_float(static_cast<float>(v)))) : v;
        };
        const double c = stored(std::cos(static_cast<double>(angle))),
                     s = stored(std::sin(static_cast<double>(angle)));
        y[j] = heads[h + j] * c + heads[h + j + hd / 2] * s;
        y[j + hd / 2] = heads[h + j + hd / 2] * c - heads[h + j] * s;
      }
      for (const double v : normed(y)) out.push_back(config_.qk_gain * v);
    }
    return out;
  }

  void run_block(int64_t i, const std::vector<int32_t>& tokens, Rows& x) const {
    const ModelConfig& c = config_;
    const std::string block = "transformer.h." + std::to_string(i) + ".";
    const size_t n = x.size();
    Rows q(n), k(n), v(n);
    for (size_t t = 0; t < n; ++t) {
      const std::vector<double> xn = normed(x[t]);
      q[t] = placed(times(block + "attn.c_q.weight", c.n_head * c.head_dim, xn), t);
      k[t] = placed(times(block + "attn.c_k.weight", c.n_kv_width(), xn), t);
      v[t] = times(block + "attn.c_v.weight", c.n_kv_width(), xn);
      if (!c.has_value_embedding(i)) continue;
      const auto ve = row("value_embeds." + std::to_string(i) + ".weight", tokens[t], c.n_kv_width());
      for (int64_t d = 0; d < c.n_kv_width(); ++d) {
        const double g =
            c.ve_gate_scale * gate(block + "attn.ve_gate.weight", d / c.head_dim, c.ve_gate_channels, xn);
        v[t][static_cast<size_t>(d)] += g * ve[static_cast<size_t>(d)];
      }
    }
    for (size_t t = 0; t < n; ++t)
      add(x[t], times(block + "attn.c_proj.weight", c.n_embd, attended(i, t, q[t], k, v)));
    for (size_t t = 0; t < n; ++t) {
      std::vector<double> hidden = times(block + "mlp.c_fc.weight", c.mlp_hidden, normed(x[t]));
      for (double& h : hidden) h = h > 0.0 ? h * h : 0.0;
      add(x[t], times(block + "mlp.c_proj.weight", c.n_embd, hidden));
    }
  }

  static void add(std::vector<double>& x, const std::vector<double>& y) {
    for (size_t d = 0; d < x.size(); ++d) x[d] += y[d];
  }

  std::vector<double> attended(int64_t layer, size_t t, const std::vector<double>& q, const Rows& k,
                               const Rows& v) const {
    const auto hd = static_cast<size_t>(config_.head_dim);
    const int64_t window = config_.window_left[static_cast<size_t>(layer)];
    const auto now = static_cast<int64_t>(t);
    const auto begin = static_cast<size_t>(window < 0 ? 0 : std::max<int64_t>(0, now - window));
    std::vector<double> out;
    for (int64_t head = 0; head < config_.n_head; ++head) {
      const size_t at = static_cast<size_t>(head) * hd;
      const size_t kv = static_cast<size_t>(head / (config_.n_head / config_.n_kv_head)) * hd;
      std::vector<double> weight;
      double largest = -HUGE_VAL, sum = 0.0;
      for (size_t s = begin; s <= t; ++s) {
        double score = 0.0;
        for (size_t d = 0; d < hd; ++d) score += q[at + d] * k[s][kv + d];
        weight.push_back(score * config_.attn_scale);
        largest = std::max(largest, weight.back());
      }
      for (double& w : weight) sum += w = std::exp(w - largest);
      for (size_t d = 0; d < hd; ++d) {
        double mix = 0.0;
        for (size_t s = begin; s <= t; ++s) mix += weight[s - begin] / sum * v[s][kv + d];
        out.push_back(mix);
      }
    }
    return out;
  }

  const ModelConfig& config_;
  std::map<std::string, std::vector<float>> tensors_;
  std::function<double(double)> round_;
};

}  // namespace nanochat::testing
