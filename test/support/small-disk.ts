import { spawnSync } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** A place to store data that can be made full, and be given room again, under a running server. */
export interface SmallDisk {
  dataDir: string
  /** Put before the server's command. */
  wrapper: string[]
  fill(serverPid: number): void
  free(serverPid: number): void
  remove(): void
}

const MIB = 2 ** 20

function run(command: string, args: string[]): void {
  const { status, stderr } = spawnSync(command, args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} failed: ${stderr}`)
}

function succeeds(command: string, args: string[]): boolean {
  return spawnSync(command, args).status === 0
}

/** A file system of its own in memory, full when a ballast file fills it. Needs the right to mount. */
function memoryDisk(directory: string): SmallDisk {
  run('mount', ['-t', 'tmpfs', '-o', `size=${16 * MIB}`, 'tmpfs', directory])
  const dataDir = join(directory, 'data')
  const ballast = join(directory, 'ballast')
  mkdirSync(dataDir)
  return {
    dataDir,
    wrapper: [],
    fill() {
      try {
        writeFileSync(ballast, Buffer.alloc(16 * MIB))
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
      }
    },
    free: () => rmSync(ballast),
    remove: () => run('umount', ['--lazy', directory]),
  }
}

/** How long a process may make a file from now on. */
export function limitFiles(pid: number, bytes: number | 'unlimited'): void {
  run('prlimit', [`--pid=${pid}`, `--fsize=${bytes}:unlimited`])
}

/** Whether this machine has that limit. */
export const canLimitFiles = (): boolean => succeeds('prlimit', ['--fsize', `--pid=${process.pid}`])

/** The kernel's limit on how long a process may make a file; stands in where nothing can be mounted. */
function limitedFiles(directory: string): SmallDisk {
  return {
    dataDir: directory,
    // Without this the kernel ends the process instead of failing its write.
    wrapper: ['sh', '-c', 'trap "" XFSZ; exec "$@"', 'sh'],
    fill: (pid) => limitFiles(pid, 4096),
    free: (pid) => limitFiles(pid, 'unlimited'),
    remove: () => undefined,
  }
}

/** The ways to fill a disk that this machine allows; there is always one on Linux. */
export function smallDisks(): [string, (directory: string) => SmallDisk][] {
  const canMount = succeeds('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt'])
  return [
    ...(canMount ? [['a full disk', memoryDisk] as [string, typeof memoryDisk]] : []),
    ...(canLimitFiles()
      ? [['a file that may not grow', limitedFiles] as [string, typeof limitedFiles]]
      : []),
  ]
}
