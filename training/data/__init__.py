"""Data sets: conversion, verification, reading, sampling, loading."""
