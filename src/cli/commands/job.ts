import type { Command } from 'commander'
import { branch, leaf } from '../command.ts'
import { connect } from '../connect.ts'
import { aboutJob, followJob } from '../follow-job.ts'
import { type ListOptions, paged, printList } from '../list.ts'
import { jobId } from '../names.ts'
import { answer, type JsonOption, minute } from '../output.ts'
import type { Terminal } from '../terminal.ts'

export function jobCommands(program: Command, terminal: Terminal): void {
  const job = branch(program, 'job', 'Follow and cancel actions on many tokens')
  listJobs(job, terminal)
  showJob(job, terminal)
  cancelJob(job, terminal)
}

function listJobs(job: Command, terminal: Terminal): void {
  const list = leaf(job, 'list', {
    summary: 'List jobs, newest first; admins see all, others their own',
    examples: ['mintmark job list --open'],
  }).option('--open', 'only those under way')
  paged(list).action(async (options: ListOptions & { open?: boolean }) => {
    const client = connect(terminal)
    await printList(terminal, options, {
      list: (page) => client.jobs.list({ ...page, ...(options.open ? { open: true } : {}) }),
      empty: 'No jobs. Begin one: mintmark token revoke --query <query>',
      columns: [
        { title: 'ID', of: (row) => row.id, whole: true },
        { title: 'STATE', of: (row) => row.state, whole: true },
        { title: 'ACTION', of: (row) => row.action, whole: true },
        { title: 'DONE', of: (row) => `${row.done}/${row.total}`, whole: true },
        { title: 'QUERY', of: (row) => row.q },
        { title: 'BY', of: (row) => row.owner.username ?? row.owner.id, extra: true },
        { title: 'MADE', of: (row) => minute(row.createdAt), whole: true, extra: true },
      ],
    })
  })
}

function showJob(job: Command, terminal: Terminal): void {
  leaf(job, 'show', {
    summary: 'Show how far a job is',
    examples: ['mintmark job show <id>', 'mintmark job show <id> --wait'],
  })
    .argument('<id>', 'id of the job')
    .option('--wait', 'until it is over')
    .action(async (id: string, options: JsonOption & { wait?: boolean }) => {
      const client = connect(terminal)
      const found = await client.jobs.get(jobId(id))
      const shown = options.wait === true ? await followJob(terminal, client, found) : found
      answer(terminal, { ...options, document: shown, text: () => aboutJob(shown) })
    })
}

function cancelJob(job: Command, terminal: Terminal): void {
  leaf(job, 'cancel', {
    summary: 'Stop a job; what it has done stays done',
    examples: ['mintmark job cancel <id>'],
  })
    .argument('<id>', 'id of the job')
    .action(async (id: string, options: JsonOption) => {
      const cancelled = await connect(terminal).jobs.cancel(jobId(id))
      answer(terminal, { ...options, document: cancelled, text: () => aboutJob(cancelled) })
    })
}
