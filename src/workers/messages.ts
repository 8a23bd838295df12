/** What workers tell their supervisor. */
export type FromWorker =
  | { mintmark: 'ready'; url: string }
  /** It wants to write to the database file. */
  | { mintmark: 'turn-wanted' }
  | { mintmark: 'turn-over' }
  | { mintmark: 'metrics-wanted'; id: number }

/** What the supervisor tells a worker. */
export type ToWorker =
  | { mintmark: 'turn' }
  | { mintmark: 'metrics'; id: number; text: string | undefined }
