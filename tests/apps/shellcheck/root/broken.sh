#!/bin/bash
if true; then
  echo "unclosed
fi
