"""Doing what a scenario's actions say, and taking it back."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from tests.chaos import actions, host
from tests.chaos.errors import StageError
from tests.chaos.rest import UNANSWERED, routers_wrong, until_nothing
from tests.chaos.stage import Fleet
from tests.chaos.view import TIMEOUT, View

Undo = Callable[[], Awaitable[None]]

ROUTERS = "sgl-local-router"
#: A router's goodbye: notice, streams, and the load balancer's two checks.
_ROUTER_BACK_S = 60.0
_SGLCTL_S = 240.0


class Doer:
    """One scenario's hands. `workers`, `routers`: (instance id, address), as they are numbered."""

    def __init__(
        self,
        view: View,
        fleet: Fleet,
        workers: Sequence[tuple[str, str]],
        routers: Sequence[tuple[str, str]],
    ) -> None:
        self.view, self.fleet = view, fleet
        self.workers, self.routers = workers, routers
        self._does: dict[type[actions.Action], Callable[[Any], Awaitable[Undo | None]]] = {
            actions.Desired: self._desired,
            actions.Refresh: self._refresh,
            actions.CancelRefresh: self._cancel_refresh,
            actions.Terminate: self._terminate,
            actions.Notice: self._notice,
            actions.Vanish: self._vanish,
            actions.Signal: self._signal,
            actions.Engine: self._engine,
            actions.Aws: self._aws,
            actions.Partition: self._partition,
            actions.DiskFull: self._disk_full,
            actions.ClockSkew: self._clock_skew,
            actions.RouterSignal: self._router_signal,
            actions.RestartRouters: self._restart_routers,
            actions.Parameter: self._parameter,
            actions.Hook: self._hook,
            actions.Sglctl: self._sglctl,
            actions.KillEmulator: self._kill_emulator,
            actions.Wait: self._wait,
        }

    async def do(self, action: actions.Action) -> Undo | None:
        """What takes it back, where that is needed. Raises StageError when it cannot be done."""
        try:
            return await self._does[type(action)](action)
        except (*UNANSWERED, subprocess.SubprocessError) as error:
            raise StageError(f"{error!r}") from error

    def _folder(self, number: int) -> Any:
        return self.view.stage.hosts / self.workers[number][0]

    async def _call(self, service: str, operation: str, **given: Any) -> Any:
        client = self.view.groups if service == "autoscaling" else self.view.stage.client(service)
        return await asyncio.to_thread(getattr(client, operation), **given)

    async def _group_call(self, operation: str, **given: Any) -> Any:
        """A call of Auto Scaling about the fleet's group."""
        return await self._call(
            "autoscaling", operation, AutoScalingGroupName=self.fleet.group, **given
        )

    async def _control(self, method: str, route: str, body: object = None) -> Any:
        """A request to the emulator's own routes."""
        url = f"{self.view.stage.emulator}/_sglocal/{route}"
        async with self.view.http.request(method, url, json=body, timeout=TIMEOUT) as answer:
            document = await answer.json(content_type=None)
            if answer.status != 200:
                raise StageError(f"{method} {route}: {document}")
            return document

    # -- capacity ---------------------------------------------------------------------------------

    async def _desired(self, action: actions.Desired) -> None:
        await self._group_call("set_desired_capacity", DesiredCapacity=action.workers)

    async def _refresh(self, action: actions.Refresh) -> None:
        preferences = {"MinHealthyPercentage": action.min_healthy,
                       "MaxHealthyPercentage": action.max_healthy,
                       "InstanceWarmup": action.warm_up_s}  # fmt: skip
        group = self.fleet.group if action.of == "workers" else ROUTERS
        await self._call("autoscaling", "start_instance_refresh",
                         AutoScalingGroupName=group, Preferences=preferences)  # fmt: skip

    async def _cancel_refresh(self, _action: actions.CancelRefresh) -> None:
        await self._group_call("cancel_instance_refresh")

    async def _terminate(self, action: actions.Terminate) -> None:
        await self._call("autoscaling", "terminate_instance_in_auto_scaling_group",
                         InstanceId=self.workers[action.worker][0],
                         ShouldDecrementDesiredCapacity=action.decrement)  # fmt: skip

    async def _hook(self, action: actions.Hook) -> Undo:
        answer = await self._group_call(
            "describe_lifecycle_hooks", LifecycleHookNames=[action.name]
        )
        before = answer["LifecycleHooks"][0]["HeartbeatTimeout"]

        async def put(seconds: int) -> None:
            await self._group_call(
                "put_lifecycle_hook", LifecycleHookName=action.name, HeartbeatTimeout=seconds
            )

        await put(action.timeout_s)
        return partial(put, before)

    # -- what EC2 does to an instance -------------------------------------------------------------

    async def _notice(self, action: actions.Notice) -> Undo | None:
        name = self.workers[action.worker][0]
        body = {} if action.seconds is None else {"seconds": action.seconds}
        await self._control("POST", f"{action.do}/{name}", body)

        async def withdraw() -> None:
            if name in {h.instance_id for h in await self.view.hosts()}:
                await self._control("DELETE", f"notices/{name}")

        return None if action.do == "spot-notice" else withdraw  # it ends its instance

    async def _vanish(self, action: actions.Vanish) -> None:
        await self._control("POST", f"vanish/{self.workers[action.worker][0]}", {})

    async def _aws(self, action: actions.Aws) -> Undo:
        fault = dict(action.fault)
        if action.worker is not None:
            fault |= {"api": "InstanceMetadata", "instance_id": self.workers[action.worker][0]}
        if action.here:
            fault["instance_type"] = self.fleet.instance_type
        number = (await self._control("POST", "faults", fault))["id"]

        async def end() -> None:
            active = (await self._control("GET", "faults"))["faults"]
            if number in [row["id"] for row in active]:
                await self._control("DELETE", f"faults/{number}")

        return end

    async def _parameter(self, action: actions.Parameter) -> Undo:
        router = action.of == "router"
        name = "/sglctl/local/" + ("router" if router else f"fleets/{self.fleet.name}/worker")
        before = (await self._call("ssm", "get_parameter", Name=name))["Parameter"]["Value"]

        async def put(text: str) -> None:
            await self._call("ssm", "put_parameter", Name=name, Value=text, Overwrite=True)

        await put(action.text or json.dumps({**json.loads(before), **action.change}))
        return partial(put, before)

    async def _kill_emulator(self, _action: actions.KillEmulator) -> None:
        os.kill(int(self.view.stage.where["pid"]), signal.SIGKILL)

    # -- on a worker's host -----------------------------------------------------------------------

    async def _signal(self, action: actions.Signal) -> Undo | None:
        folder = self._folder(action.worker)

        async def not_running() -> list[str]:
            found = await asyncio.to_thread(host.service_pid, folder, action.service)
            return [] if found else [f"no {action.service} runs on {folder.name}"]

        await self._until(not_running, f"SIG{action.signal}")
        pid = await asyncio.to_thread(host.send, folder, action.service, action.signal)
        if action.signal != "STOP":
            return None

        async def resume() -> None:
            if await asyncio.to_thread(_same, folder, action.service, pid):
                os.kill(pid, signal.SIGCONT)

        return resume

    async def _engine(self, action: actions.Engine) -> Undo | None:
        name, address = self.workers[action.worker]
        await self._faults(address, action.faults)

        async def not_reset() -> list[str]:
            if name in {h.instance_id for h in await self.view.hosts()}:
                await self._faults(address, {"reset": True})
            return []

        async def reset() -> None:
            await self._until(not_reset, f"the engine of {name}")  # it may just be restarting

        return None if "die" in action.faults else reset

    async def _faults(self, address: str, faults: dict[str, Any]) -> None:
        url = f"http://{address}:30000/stub/faults"
        async with self.view.http.post(url, json=faults, timeout=TIMEOUT) as answer:
            if answer.status != 200:
                raise StageError(f"{url}: {await answer.text()}")

    async def _partition(self, action: actions.Partition) -> Undo:
        address = self.workers[action.worker][1]
        table = host.table_name(self.fleet.name, action.worker)
        await asyncio.to_thread(host.cut_off, table, address)
        return partial(asyncio.to_thread, host.connect_again, table)

    async def _disk_full(self, action: actions.DiskFull) -> Undo:
        folder = self._folder(action.worker)
        await asyncio.to_thread(host.fill_disk, folder)
        return partial(asyncio.to_thread, host.free_disk, folder)

    async def _clock_skew(self, action: actions.ClockSkew) -> None:
        name, folder = self.workers[action.worker][0], self._folder(action.worker)
        await asyncio.to_thread(host.skew_clock, folder, action.seconds)
        before = host.supervisor_pid(folder)
        await self._call("ec2", "reboot_instances", InstanceIds=[name])

        async def rebooted() -> list[str]:
            return ["not rebooted"] if host.supervisor_pid(folder) == before else []

        await self._until(rebooted, name)

    # -- routers ----------------------------------------------------------------------------------

    async def _router_signal(self, action: actions.RouterSignal) -> None:
        folder = self.view.stage.hosts / self.routers[action.router][0]
        await asyncio.to_thread(host.send, folder, "router", action.signal)

    async def _restart_routers(self, _action: actions.RestartRouters) -> None:
        for name, _ in self.routers:
            folder = self.view.stage.hosts / name
            before = host.service_pid(folder, "router")
            (folder / "run" / "router.wanted").write_text("stopped\n")
            await self._until(partial(_no_router, folder), f"router {name} did not stop")
            (folder / "run" / "router.wanted").write_text("started\n")
            healthy = partial(routers_wrong, self.view, len(self.routers))
            await self._until(healthy, f"router {name} did not come back")
            if host.service_pid(folder, "router") == before:
                raise StageError(f"router {name} was never restarted")

    async def _until(self, look: Callable[[], Awaitable[list[str]]], what: str) -> None:
        if wrong := await until_nothing(look, _ROUTER_BACK_S):
            raise StageError(f"{what}: {'; '.join(wrong)}")

    # -- by hand ----------------------------------------------------------------------------------

    async def _sglctl(self, action: actions.Sglctl) -> None:
        names = {f"w{number}": name for number, (name, _) in enumerate(self.workers)}
        words = action.run.format(fleet=self.fleet.name, **names).split()
        done = await asyncio.to_thread(
            self.view.stage.sglctl.run, *words, expect=None, timeout_s=_SGLCTL_S
        )
        said = done.stdout + done.stderr
        says = action.says.format(fleet=self.fleet.name)
        if done.returncode != action.exit or says not in said:
            wanted = f"{action.exit}" + (f" and {says!r}" if says else "")
            raise StageError(
                f"sglctl {' '.join(words)}: exit {done.returncode}, wanted {wanted}: {said[-600:]}"
            )

    async def _wait(self, action: actions.Wait) -> None:
        if wrong := await until_nothing(partial(self._not_yet, action), action.within_s):
            raise StageError(f"worker {action.worker} is not {action.until}: {'; '.join(wrong)}")

    async def _not_yet(self, action: actions.Wait) -> list[str]:
        hosts = {h.instance_id: h for h in await self.view.hosts() if h.fleet == self.fleet.name}
        if action.worker == "new":
            names = sorted(set(hosts) - {name for name, _ in self.workers})
        else:
            names = [self.workers[action.worker][0]]
        if action.until == "gone":
            return [f"{name} is there" for name in names if name in hosts]
        states = []
        for name in names:
            if name in hosts:
                states.append(str((await self.view.agent(hosts[name].address))["state"]))
        return [] if action.until in states else [f"state {', '.join(states) or 'unknown'}"]


def _same(folder: Any, service: str, pid: int) -> bool:
    return folder.exists() and host.service_pid(folder, service) == pid


async def _no_router(folder: Any) -> list[str]:
    pid = await asyncio.to_thread(host.service_pid, folder, "router")
    return [] if pid is None else [f"process {pid} runs"]
