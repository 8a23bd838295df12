/** By the monotonic clock that all processes of a machine share. */
export const uptimeOfMachineMs = (): number => Number(process.hrtime.bigint()) / 1e6
