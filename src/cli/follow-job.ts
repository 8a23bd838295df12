import { setTimeout as sleep } from 'node:timers/promises'
import type { Client, Job } from '@mintmark/sdk'
import { createBar } from './bar.ts'
import { minute } from './output.ts'
import { facts } from './table.ts'
import type { Terminal } from './terminal.ts'
import { visible } from './text.ts'

const POLL_MS = 300

/** Waits for the end of a job, and shows people how far it is. */
export async function followJob(terminal: Terminal, client: Client, started: Job): Promise<Job> {
  const goesOn = `The server goes on with it. See: mintmark job show ${started.id} --wait`
  const bar = createBar(terminal, goesOn)
  let job = started
  try {
    while (job.finishedAt === null) {
      bar.show(
        job.state === 'selecting'
          ? { text: `${job.total} tokens selected` }
          : { share: job.done / Math.max(1, job.total), text: progressText(job) },
      )
      await sleep(POLL_MS)
      job = await client.jobs.get(job.id)
    }
    return job
  } finally {
    bar.clear()
  }
}

function progressText({ done, total, secondsLeft }: Job): string {
  const left = secondsLeft === null ? '' : `  ${durationText(secondsLeft)} left`
  return `${done} of ${total} tokens${left}`
}

function durationText(seconds: number): string {
  return seconds < 60 ? `${seconds} s` : `${Math.ceil(seconds / 60)} min`
}

/** All about a job, for people. */
export function aboutJob(job: Job): string {
  return facts([
    ['id', job.id],
    ['state', job.state],
    ['problem', job.problem ?? undefined],
    ['action', job.action],
    ['query', visible(job.q)],
    ['reason', job.reason === '' ? undefined : job.reason],
    ['new end', job.expiresAt ?? undefined],
    ['asked by', job.owner.username ?? `${job.owner.id} (deleted)`],
    ['selected', String(job.total)],
    ['dealt with', String(job.done)],
    ['changed', String(job.changed)],
    ['left as is', String(job.skipped)],
    ['time left', job.secondsLeft === null ? undefined : durationText(job.secondsLeft)],
    ['made', minute(job.createdAt)],
    ['finished', job.finishedAt === null ? undefined : minute(job.finishedAt)],
  ])
}
