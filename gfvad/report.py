"""One page to look at scores: a report.html that holds all it shows and opens from disk.

    python -m gfvad.report SCORES                   scores beside their videos
    python -m gfvad.report RUN --video-root=FOLDER  protocol numbers, timelines of test videos
    python -m gfvad.report RUNS                     headlines, mean and spread over seeds
    python -m gfvad.report --tables                 tables of README.md and docs/ from stored results
 results say")
        return 0
    if args.folder is None:
        made.error("expected a folder of scores, of a run, or of several runs, or --tables")
    from gfvad.reporting.page import make_report

    path, damaged = make_report(
        args.folder.expanduser(),
        args.out and args.out.expanduser(),
        args.videos,
        args.max_video_mb,
        args.video_root and args.video_root.expanduser(),
    )
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB; open it in a browser")
    if damaged:
        print(f"{len(damaged)} damaged, and not or not wholly in the page:", file=sys.stderr)
    for what, reason in damaged:
        print(
            redact(f"  {reason if reason.startswith(what) else f'{what}: {reason}'}"),
            file=sys.stderr,
        )
    return EXIT_SOME_FAILED if damaged else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
