#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, builds, runs all tests. The last line is "N passed, N failed".
#   ./test.sh             everything but what takes very long
#   ./test.sh --extended  also packages in bare Debian roots, the documents as a site, the Python package with PyTorch,
#                         Slurm, Ray and Sail, Milvus, clang-tidy, the sanitizers and 30 seconds of each fuzz target
set -uo pipefail
cd "$(dirname "$0")" || exit
extended=false
[ "${1:-}" = --extended ] && extended=true
. scripts/count.sh

level=test
$extended && level=checks
# The cuda preset is the cpu preset's build and the library for GPUs beside it, so one build serves both.
preset=cpu
command -v nvcc >/dev/null && preset=cuda
if ! scripts/install.sh $level || ! scripts/build.sh $preset; then
  failed=$((failed + 1))
  finish
fi
count "layers" scripts/check_layers.sh
count "paths" scripts/check_paths.sh
count "path check" tests/scripts/check_paths_test.sh
count "links" scripts/check_links.sh
count "link check" tests/scripts/check_links_test.sh
count "counting" tests/scripts/count_test.sh
count "a build of one op" tests/scripts/ops_subset_test.sh
if command -v python3 >/dev/null; then
  count "length of functions" scripts/check_function_length.py kernels engine model data retrieval pipeline apps api bench tests
  count "check of functions' length" tests/scripts/check_function_length_test.sh
  count "report of a GPU's run" python3 tests/bench/gpu/report_test.py
  count "a GPU's run" tests/bench/gpu/run_test.sh
fi
# hybridhash.convert, and export --onnx in other runtimes, by a Python that has what they work with (pip install numpy pytest
# torch onnx onnxruntime openvino pillow scipy safetensors). A test whose package isn't there is skipped.
python=${HH_TEST_PYTHON:-python3}
for module in convert:torch onnx:onnx; do
  if "$python" -c "import numpy, pytest, ${module#*:}" 2>/dev/null; then
    HH_PROGRAM=$PWD/build/$preset/bin/hybridhash count "${module%:*} (Python)" \
      "$python" -m pytest -q -p no:cacheprovider "tests/api/python/${module%:*}_test.py"
  else
    echo "skipped: tests/api/python/${module%:*}_test.py, since $python has no numpy, pytest or ${module#*:} (set HH_TEST_PYTHON)"
  fi
done

# denied RULES PROGRAM ARGS...: a Catch2 program on a simulated GPU whose libraries refuse these calls.
denied() {
  local rules=$1
  shift
  catch "$(basename "$1") (denied: $rules)" "$simulator" run --strict --deny="$rules" -- "$@"
}

bin=build/$preset/bin
count "recipe keys" scripts/check_recipe_keys.sh $bin/hybridhash
count "commands in documents" scripts/check_commands.sh $bin/hybridhash
sets=$($bin/hybridhash info --simd-sets)
for simd in $sets; do
  export HH_SIMD=$simd
  for program in "$bin"/hh_*_tests; do
    # Instruction sets differ in the kernels and what is made of them; programs are tested once.
    case $simd:$(basename "$program") in
      baseline:hh_kernel_tests | *:hh_kernel_tests | avx*:hh_retrieval_tests | avx*:hh_model_tests) ;;
      *) [ "$simd" = "${sets##* }" ] || continue ;;
    esac
    catch "$(basename "$program") ($simd)" "$program"
  done
done
# The reference cases of tests/goldens and of HH_GOLDENS. The baseline takes minutes for full224.
for simd in ${sets#baseline }; do
  verify "verify ($simd)" $bin/hybridhash verify --device cpu --simd "$simd" --failures
done
unset HH_SIMD

# What ptxas makes of every CUDA kernel, on two of the architectures: spills and occupancy against a baseline.
if [ $preset = cuda ] && command -v python3 >/dev/null; then
  count "ptxas baseline" python3 bench/ptxas/table.py build/cuda/bin/libhh_cuda.so --arch 80,90 --check bench/ptxas/baseline.tsv
fi

# Programs of others, against an installed prefix.
script "consumers" tests/scripts/consumers_test.sh build/$preset
script "ABI" tests/scripts/abi_test.sh build/$preset
with_torch=
$extended && with_torch=--torch
command -v python3 >/dev/null && script "Python package" tests/scripts/python_test.sh $with_torch

# The page that serve shows, in a browser (skipped by the script where there is none).
if command -v python3 >/dev/null; then
  count "page in a browser" python3 tests/apps/serve/page_in_browser.py $bin/hybridhash
fi

# Training on several processes: the same tests on each rank, and the program as users start it.
if [ ! -e $bin/libhh_mpi.so ]; then
  echo "skipped: training on several processes, since MPI isn't installed"
else
  for ranks in 2 4; do
    OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_mpi_yield_when_idle=1 \
      count "hh_dist_tests on $ranks ranks" timeout 300 mpirun -np $ranks --oversubscribe $bin/hh_dist_tests
  done
  command -v python3 >/dev/null && script "distributed" python3 tests/distributed/train_test.py $bin/hybridhash
fi

# Collections on servers of others, with a PostgreSQL that the test starts.
if [ ! -e $bin/libhh_postgres.so ] || ! command -v python3 >/dev/null || ! ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1; then
  echo "skipped: collections in PostgreSQL, since libpq-dev, postgresql or python3 isn't installed"
else
  script "PostgreSQL" python3 tests/engines/postgres_test.py $bin/hybridhash
  script "PostgreSQL, hostile" python3 tests/engines/hostile_postgres.py $bin/hybridhash
fi

# docs/own-photos.md, followed word by word.
script "own photos" tests/scripts/own_photos_test.sh $bin/hybridhash

script "systemd units" tests/scripts/systemd_test.sh $bin/hybridhash

# docs/kernels/your-own.md, followed word by word.
script "a kernel of one's own" tests/scripts/your_own_test.sh

# The GPU side: on a GPU, or else in the simulator, which also checks memory, uninitialised reads, races,
# barriers and (lazy) the order of streams.
simulator=${PTXSIM_HOME:-../shared/ptxsim}/bin/ptxsim
if [ $preset = cpu ]; then
  echo "skipped: the CUDA tests, since nvcc is not installed"
elif [ ! -e /dev/nvidiactl ] && [ ! -x "$simulator" ]; then
  echo "skipped: the CUDA tests, since there is neither a GPU nor ptxsim (set PTXSIM_HOME)"
else
  export HH_TEST_DEVICES=cuda
  runs=("")
  if [ ! -e /dev/nvidiactl ]; then
    "$simulator" build >/dev/null
    # Sums of tensor cores are cut to 24 bits in the one run and to 23 in the other.
    runs=("$simulator run --strict --mma-bits=24 --check=memory,init,race,sync,leak --"
      "$simulator run --strict --mma-bits=23 --lazy --seed=1 --")
  fi
  for run in "${runs[@]}"; do
    label=cuda
    [[ $run == *ptxsim* ]] && label="cuda in ptxsim"
    [[ $run == *lazy* ]] && label="cuda in ptxsim, lazy streams"
    # shellcheck disable=SC2086
    catch "hh_kernel_tests ($label)" $run $bin/hh_kernel_tests
    # shellcheck disable=SC2086
    catch "hh_engine_tests ($label)" $run $bin/hh_engine_tests "[gradcheck],[tensor],[memory],[profiler]"
    # shellcheck disable=SC2086
    catch "hh_model_tests ($label)" $run $bin/hh_model_tests "[trainer],[batch_codes]"
  done
  if [ ! -e /dev/nvidiactl ]; then
    # Hidden tests, of what only a simulated machine has: two GPUs, a small one, one that gives no memory,
    # libraries that refuse calls.
    HH_TEST_DEVICES=cuda:0,cuda:1 catch "hh_engine_tests (two GPUs)" \
      "$simulator" run --strict --devices=2 --check=memory,init,race,sync,leak -- $bin/hh_engine_tests "[.two_gpus]"
    catch "hh_model_tests (full GPU)" "$simulator" run --strict --memory=256M -- $bin/hh_model_tests "[.full_gpu]"
    catch "hh_retrieval_tests (small GPU)" "$simulator" run --strict --memory=256M -- $bin/hh_retrieval_tests "[.small_gpu]"
    catch "hh_engine_tests (failed call)" "$simulator" run --strict -- $bin/hh_engine_tests "[.failed_call]"
    if [ -e $bin/libhh_mpi.so ] && command -v python3 >/dev/null; then
      HH_SIMULATOR="$simulator run --devices=2 --lazy --check=memory,init,sync --" \
        script "distributed (two GPUs)" python3 tests/distributed/train_test.py $bin/hybridhash
    fi
    denied malloc:all $bin/hh_engine_tests "[.unusable_gpu]"
    denied cublaslt:epilogue=bias,cublaslt:epilogue=bgradb $bin/hh_kernel_tests "[linear]"
    denied cudnn:conv $bin/hh_kernel_tests "[conv]"
    denied cudnn:conv-bias $bin/hh_kernel_tests "[conv]"
    for rules in cublaslt:epilogue=bias,cublaslt:epilogue=bgradb cublaslt:dtype=bf16 cudnn:all \
      graph:capture graph:instantiate malloc:once=100 malloc:after=100 cudnn:random=0.05,graph:random=0.05 \
      random=0.05,seed=2 random=0.05,seed=4 random=0.05,seed=8; do
      denied $rules $bin/hh_model_tests "[.refusals]"
    done
    if [ -e $bin/libhh_bench_peers.so ]; then
      HH_BENCH_ONCE=1 count "hh_bench --peers (denied: cudnn:graph)" "$simulator" run --strict --deny=cudnn:graph -- \
        $bin/hh_bench run --device cuda --peers --preset micro --filter bias_gelu_forward/
    fi
  fi
  # shellcheck disable=SC2086
  catch "hh_engine_tests (tuned GPU)" ${runs[0]} $bin/hh_engine_tests "[.tuned_gpu]"
  # shellcheck disable=SC2086
  catch "hh_app_tests (cuda)" ${runs[0]} $bin/hh_app_tests "[devices]"
  # shellcheck disable=SC2086
  catch "hh_retrieval_tests (cuda)" ${runs[0]} $bin/hh_retrieval_tests "[devices]"
  # shellcheck disable=SC2086
  count "ladder (cuda)" ${runs[0]} $bin/hh_ladder
  # shellcheck disable=SC2086
  catch "hh_bench_tests (cuda)" ${runs[0]} $bin/hh_bench_tests "[peers],[devices]"
  # The way without cuDNN, and a full GPU.
  # shellcheck disable=SC2086
  HH_CUDNN=0 catch "hh_kernel_tests [conv] without cuDNN (cuda)" ${runs[0]} $bin/hh_kernel_tests "[conv]"
  # Sums that aren't cut: with it the larger networks take a quarter of an hour.
  for dtype in f32 bf16 f16; do
    # shellcheck disable=SC2086
    verify "verify $dtype (cuda)" ${runs[0]/--mma-bits=24 /} $bin/hybridhash verify --device cuda --dtype $dtype --failures
  done
  unset HH_TEST_DEVICES
fi

if $extended; then
  script "packages" tests/scripts/packages_test.sh
  command -v python3 >/dev/null && script "API by schemathesis" tests/scripts/openapi_client_test.sh $bin/hybridhash
  # Skipped without PyPI, as the Python package is.
  if python3 -m pip index versions furo >/dev/null 2>&1; then
    started=$SECONDS
    count "site" scripts/site.sh
    echo "the site: $((SECONDS - started)) s"
  else
    echo "skipped: the site, since PyPI can't be reached"
  fi
  script "clusters" tests/scripts/cluster_test.sh $bin/hybridhash
  script "Milvus" tests/scripts/milvus_test.sh $bin/hybridhash
  count "clang-tidy" scripts/check_tidy.sh build/$preset
  script "address sanitizer" scripts/sanitize.sh asan
  script "thread sanitizer" scripts/sanitize.sh tsan
  script "memory" scripts/sanitize.sh memory
  script "fuzz targets" scripts/sanitize.sh fuzz 30
fi
finish
