// What the ops' bench.cpp files share: a row knows its work, checks itself against the double reference, then is timed.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace hymba::kernels::bench {

using Tensors = std::vector<at::Tensor>;

// Of one run, by counting what the definition needs: every input read and every output written once.
struct Work {
  double flops = 0, bytes = 0, exps = 0;
  double pair_flops = 0;  // of the flops: products of pairs of bf16, two multiply-adds a lane and instruction
};

// The error is the largest of all outputs, relative to each one's largest value; above `tolerance` nothing is timed.
struct Run {
  std::function<void()> time;
  std::function<double()> error;
  double tolerance = 3e-5;
  // Bytes, where memory is measured: what is there before a run (inputs, gradients of the outputs), and with what any
  // implementation has to add to it (outputs, gradients of the inputs).
  double given = 0, held = 0;
};

struct Row {
  std::string op, name;
  Work work;
  std::function<Run()> prepare;
};

// One function an op; `smoke`: shapes of the tests that take microseconds.
void conv_rows(bool smoke, std::vector<Row>* rows);
void decode_rows(bool smoke, std::vector<Row>* rows);
void gemv_rows(bool smoke, std::vector<Row>* rows);
void linear_rows(bool smoke, std::vector<Row>* rows);
void norm_rows(bool smoke, std::vector<Row>* rows);
void scan_rows(bool smoke, std::vector<Row>* rows);
void ssd_rows(bool smoke, std::vector<Row>* rows);
void window_attention_rows(bool smoke, std::vector<Row>* rows);

// The bench cases, or the first two test cases.
template <class Case>
std::vector<Case> cases_of(bool smoke, const std::vector<Case>& test, const std::vector<Case>& bench) {
  return smoke ? std::vector<Case>(test.begin(), test.begin() + 2) : bench;
}

// Where the rows' tensors live: the CPU, or the GPU of --device cuda. The reference runs on the CPU always.
void set_device(const at::Device& device);
at::Device device();
void synchronize();  // waits for that GPU

at::Tensor random(at::IntArrayRef sizes, double scale = 1, double shift = 0);
at::Tensor empty(at::IntArrayRef sizes);
Tensors leaves(const Tensors& tensors);  // copies that need a gradient; undefined ones stay so
Tensors to_double(const Tensors& tensors);  // and on the CPU; ids as they are
Tensors gradients(const Tensors& outputs, const Tensors& inputs, const Tensors& grad_outputs);
double error_of(const Tensors& actual, const Tensors& expected);  // undefined pairs count as equal
double bytes_of(const Tensors& tensors);
double peak_bytes(const std::function<void()>& f);  // the most that f holds at once of LibTorch's CPU memory

// Rows of forward, and of forward and backward, of a differentiable op: `f` maps inputs to outputs. `slice` takes from
// inputs or gradients what the reference can do in reasonable time, in the inputs' order; `out_slice` from the outputs.
struct Differentiable {
  std::string op, name;
  Tensors inputs;
  Work forward, both;
  std::function<Tensors(const Tensors&)> f;
  std::function<Tensors(const Tensors&)> slice, out_slice;  // null: everything
  std::vector<int> compared;  // gradients that a slice gives whole (all if there is no slice)
  double tolerance = 3e-5;
};
// A row of the forward pass, and one of both passes.
void add(const std::function<Differentiable()>& make, const std::string& op, const std::string& name, Work forward,
         Work both, std::vector<Row>* rows);
void add_forward(const std::function<Differentiable()>& make, const std::string& op, const std::string& name, Work forward,
                 std::vector<Row>* rows);

}  // namespace hymba::kernels::bench
